"""home.toml from the figures that ship.py measured.

    python cards.py --work WORK --models FOLDER [--left-out WORK/left_out.json] NAME...

Each WORK/NAME.json must have been measured with --test; a NAME without it keeps the card that it has. left_out.json:
{NAME: {"mean": …, "grouped": …}}, from runs that had never seen those collections. `expected` is what the file says of the first
synthetic picture of edged's probe: a runtime that runs the file differently is then refused.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import tomlkit

from edged.vision.classifier import Classifier
from edged.vision.preprocess import to_tensor
from edged.vision.probe import synthetic_frames

HEAD = """The bundled family: MobileNet V1, int8, built upon the published networks. Written by models/training/cards.py.
enter, leave, margin: from which score on an answer is certain; at most 4 % of the strangers that chose it get a name there
(home_1.0_160 and home_1.0_192: 5 %).
measured: by the file itself on photographs that nothing was learnt from (`test`, and strangers of other kinds than those);
left_out: on whole sources of photographs that a run with the same recipe had never learnt from (home_0.25_128: 358,400 views;
home_0.5_128: 38,400, as it was made at first);
curve: enter, recall of `test`, strangers with a certain wrong name."""


def inline(values: dict[str, object]) -> "tomlkit.items.InlineTable":
    table = tomlkit.inline_table()
    for key, value in values.items():
        table[key] = inline(value) if isinstance(value, dict) else value
    return table


def to_expected(path: Path) -> list[list[int | float]]:
    """Row and score of the three best answers to the probe's first synthetic picture."""
    classifier = Classifier(path.read_bytes(), output="probabilities")
    scores = classifier.classify(to_tensor(synthetic_frames()[0], classifier.facts.input))
    return [[int(n), round(float(scores[n]), 4)] for n in np.argsort(-scores, kind="stable")[:3]]


def to_card(found: dict, left_out: dict | None, labels_sha256: str, expected: list) -> "tomlkit.items.Table":
    """`found` as ship.py writes it."""
    test = found["test"]
    measured = {"mean": round(test["mean"], 3), "grouped": round(test["grouped"], 3)}
    if left_out:
        measured |= {"left_out": round(left_out["mean"], 3), "left_out_grouped": round(left_out["grouped"], 3)}
    measured |= {
        "calibration_error": round(test["ece"], 3), "recall": test["recall"], "certain_wrong": found["strangers"]["certain_wrong"],
        "per_class": test["per_class"], "curve": found["curve"],
    }  # fmt: skip
    card = tomlkit.table()
    views = f", {found['views']:,} views" if found["views"] else ", last layers only"
    card.update(
        {
            "name": found["name"],
            "family": "home",
            "network": "mobilenet_v1",
            "file": f"{found['name']}.tflite",
            "sha256": found["sha256"],
            "bytes": found["bytes"],
            "width_multiplier": float(found["name"].split("_")[1]),
            "px": found["px"],
            "dtype": found["dtype"],
            "million_macs": found["million_macs"],
            "million_params": found["million_params"],
            "labels": "labels/home_8.txt",
            "labels_sha256": labels_sha256,
            "label_count": 8,
            "output": "probabilities",
            "enter": found["enter"],
            "leave": found["leave"],
            "margin": found["margin"],
            "based_on": inline({"name": found["base"], "licence": "Apache-2.0", "sha256": found["base_sha256"]}),
            "layers": inline({"tuned": [*found["tuned"], "head", "meaning"], "kept": [*found["kept"], "names"]}),
            "measured": inline(measured),
            "expected": expected,
            "licence": "Apache-2.0",
            "training_set": f"33,000 photographs of public research collections{views}",
        }
    )
    return card


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--work", type=Path, required=True)
    ask.add_argument("--models", type=Path, required=True)
    ask.add_argument("--left-out", type=Path)
    ask.add_argument("names", nargs="+")
    a = ask.parse_args()
    labels_sha256 = hashlib.sha256((a.models / "labels" / "home_8.txt").read_bytes()).hexdigest()
    left_out = json.loads(a.left_out.read_text()) if a.left_out else {}
    document = tomlkit.document()
    for line in HEAD.splitlines():
        document.add(tomlkit.comment(line))
    cards, before = tomlkit.aot(), {card["name"]: card for card in tomlkit.parse((a.models / "home.toml").read_text())["card"]}
    for name in a.names:
        if not (a.work / f"{name}.json").exists():
            cards.append(before[name])
            continue
        found = json.loads((a.work / f"{name}.json").read_text())
        cards.append(to_card(found, left_out.get(name), labels_sha256, to_expected(a.models / f"{name}.tflite")))
    document.add("card", cards)
    (a.models / "home.toml").write_text(tomlkit.dumps(document).replace("\n\n\n", "\n\n"))  # kept cards bring their own


if __name__ == "__main__":
    main()
