"""home.toml from the figures that convert.py measured.

    python cards.py --work WORK --models FOLDER [--left-out MEAN] NAME...

Each NAME.json must hold `expected`, what `edged models add NAME.tflite` found best in its first synthetic picture
(`verdicts` in the state folder's measurements.json): a runtime that runs the file differently is then refused.

--left-out: the mean that a run with `train.py --leave-out` reached on those sources; the same for all cards, because it is
a figure of the recipe, not of one file.
"""

import argparse
import hashlib
import json
from pathlib import Path

import tomlkit

HEAD = """The bundled family: MobileNet V1, int8, trained by this project (models/training). Written by models/training/cards.py.
measured: on the project's own `test` photographs, by the file itself; left_out: on whole sources of photographs that a run with
the same recipe had never learnt from."""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--work", type=Path, required=True)
    ask.add_argument("--models", type=Path, required=True)
    ask.add_argument("--left-out", type=float)
    ask.add_argument("names", nargs="+")
    a = ask.parse_args()
    labels = a.models / "labels" / "home_8.txt"
    document = tomlkit.document()
    for line in HEAD.splitlines():
        document.add(tomlkit.comment(line))
    cards = tomlkit.aot()
    for name in a.names:
        found = json.loads((a.work / f"{name}.json").read_text())
        measured = tomlkit.inline_table()
        measured.update({"mean": found["mean"], "grouped": found["grouped"]})
        if a.left_out is not None:
            measured["left_out"] = a.left_out
        per_class = tomlkit.inline_table()
        per_class.update(found["per_class"])
        measured["per_class"] = per_class
        card = tomlkit.table()
        card.update(
            {
                "name": name,
                "family": "home",
                "network": "mobilenet_v1",
                "file": f"{name}.tflite",
                "sha256": found["sha256"],
                "bytes": found["bytes"],
                "width_multiplier": found["width"],
                "px": found["px"],
                "dtype": found["dtype"],
                "million_macs": found["million_macs"],
                "million_params": found["million_params"],
                "labels": "labels/home_8.txt",
                "labels_sha256": hashlib.sha256(labels.read_bytes()).hexdigest(),
                "label_count": 8,
                "output": "probabilities",
                "measured": measured,
                "expected": found["expected"],
                "licence": "Apache-2.0",
                "training_set": f"33,000 photographs of public research collections, {found['views'] / 1e6:.1f} million views",
            }
        )
        cards.append(card)
    document.add("card", cards)
    (a.models / "home.toml").write_text(tomlkit.dumps(document))


if __name__ == "__main__":
    main()
