"""Writes docs/schemas: one JSON Schema for each payload, made from the classes that the daemon sends."""

import json
from pathlib import Path

from edged.delivery.messages import BODIES, to_schema

FOLDER = Path(__file__).parent / "schemas"


def schemas() -> dict[str, str]:
    """File name → content."""
    return {
        f"{topic.replace('/', '-')}{'' if len(bodies) == 1 else '-' + body.__name__.lower()}.json": json.dumps(
            to_schema(body), indent=2
        )
        + "\n"
        for topic, bodies in BODIES.items()
        for body in bodies
    }


if __name__ == "__main__":
    for name, content in schemas().items():
        (FOLDER / name).write_text(content)
