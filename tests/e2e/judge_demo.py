"""Judges what `edged demo --json` printed: right things seen, every payload by its schema, counters that balance.

    python judge_demo.py FILE

Needs nothing but Python, so that it can judge an installed wheel from outside; with jsonschema installed the tests
beside it also validate each payload.
"""

import json
import sys
from pathlib import Path

SHOWN = {
    "astronaut": "person",
    "chelsea": "cat",
    "coffee": "background",
    "motorcycle_left": "two_wheeler",
    "brick": "background",
    "grass": "background",
    "moon": "background",
}


def judged(lines: list[dict]) -> dict[str, object]:
    """Labels that were decided, photographs named right, and what the health message counted."""
    by_topic = [(message["topic"].split("/", 2)[2], message["payload"]) for message in lines]
    said: dict[str, list[str]] = {}
    for topic, payload in by_topic:
        if topic == "result":
            picture = payload["frame"]["picture"].split("_", 1)[1].rsplit(".", 1)[0]
            said.setdefault(picture, []).append(payload["top"][0]["label"])
    right = {picture: SHOWN[picture] == max(set(labels), key=labels.count) for picture, labels in said.items()}
    frames = [payload["frames"] for topic, payload in by_topic if topic == "health"][-1:]
    return {
        "decided": sorted({payload["label"] for topic, payload in by_topic if topic == "event"}),
        "said": {picture: max(set(labels), key=labels.count) for picture, labels in said.items()},
        "right": sum(right.values()),
        "shown": len(right),
        "balanced": all(f["captured"] == sum(f.values()) - f["captured"] for f in frames) and bool(frames),
        "messages": len(lines),
    }


def main() -> None:
    verdict = judged([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()])
    print(json.dumps(verdict))
    assert len(verdict["decided"]) >= 3, "fewer than three different labels were decided"
    assert verdict["right"] * 2 >= verdict["shown"] > 0, "fewer than half of the photographs were named right"
    assert verdict["balanced"], "the frame counters do not balance"


if __name__ == "__main__":
    main()
