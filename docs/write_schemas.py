"""Writes what is made of the contract: docs/schemas, docs/asyncapi.json and the tables of docs/mqtt.md.

python docs/write_schemas.py            after a change of the messages
python docs/write_schemas.py --freeze   before a release: what was added is promised from now on; refuses a breaking change
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import contract
from breaking import breaks

HERE = Path(__file__).parent


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def written() -> dict[str, str]:
    """Path below docs → content."""
    files = {f"schemas/{name}.json": _dump(schema) for name, schema in contract.tolerant_schemas().items()}
    files |= {f"schemas/strict/{name}.json": _dump(schema) for name, schema in contract.strict_schemas().items()}
    return files | {"asyncapi.json": _dump(contract.asyncapi()), "mqtt.md": _page()}


def frozen() -> dict[str, str]:
    """File name in docs/schemas/edged-1 → content."""
    files = {f"{name}.json": _dump(schema) for name, schema in contract.strict_schemas().items()}
    return files | {"topics.json": _dump(contract.topics_table())}


def _page() -> str:
    text = (HERE / "mqtt.md").read_text()
    parts = {"topics": contract.table_of_topics(), "stamp": contract.stamp_fields(), "chapters": contract.chapters()}
    for name, part in parts.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, after = text.split(start)[0], text.split(end)[1]
        text = before + start + part + end + after
    return text


def main() -> int:
    for name, content in written().items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_text(content)
    if "--freeze" in sys.argv:
        contract.FROZEN.mkdir(parents=True, exist_ok=True)
        before = {path.name: json.loads(path.read_text()) for path in contract.FROZEN.glob("*.json")}
        if found := breaks(before, {name: json.loads(content) for name, content in frozen().items()}):
            sys.stderr.write("\n".join(["not frozen, for this would be edged/2:", *found, ""]))
            return 1
        for name, content in frozen().items():
            (contract.FROZEN / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
