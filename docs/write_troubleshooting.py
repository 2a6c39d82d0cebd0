"""Writes docs/troubleshooting.md: what a person notices → what edged doctor says of it, and what edged itself says.

The sentences are those of the code: calls of `fail` and `warn` in edged/doctor, and the kinds of fault in edged/faults.py. What
is filled in when it happens is shown as ….
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import edged
from edged.faults import kinds, to_standing

TOP = Path(__file__).parents[1]
_SHORTEST = 12  # letters of a sentence of which something is left
_HEAD = """# Troubleshooting

Made by `make docs` from what `edged doctor` and edged itself can say; … stands for what is filled in when it happens. Begin with

```sh
sudo edged doctor
edged status
```
The first prints what is wrong with this machine and the command that cures it; the second how the running daemon is, with a line
`degraded` for everything that does not work as it should. For somebody who helps: `sudo edged doctor --bundle edged.txt`.
"""
# what is noticed: the doctor's checks, and the kinds of fault that `edged status` and the topic `health` tell
SYMPTOMS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "It does not start, or starts again and again": (
        ("os", "python", "config", "numpy", "opencv", "runtime", "instances"),
        ("config", "safe_mode", "after_safe_mode", "vision_lost", "last_good_config", "last_good"),
    ),
    "The camera gives nothing: `camera` says lost or frozen": (
        ("camera-library", "camera-device", "camera-holder", "camera-password"),
        ("camera",),
    ),
    "What it says is wrong, or always unknown": (("colour-order", "model-files", "model-runs"), ("model_refused", "model_gone")),
    "Another model runs than the one that was asked for": (
        (),
        (
            *("last_good_model", "last_good_not_kept", "governor", "governor_step", "fit_failed"),
            "nothing_fits",
            "clock",
            "damaged_card",
        ),
    ),
    "Nothing arrives at the subscriber": (
        ("broker-reach", "broker-login", "broker-topics", "broker-limits", "password-file"),
        ("broker", "broker_warning", "topic_refused", "events_refused", "put_off", "unanswered", "path", "delivery"),
    ),
    "It connects and is thrown out, or two devices are one": (("client-id", "device-id"), ("client_id_taken",)),
    "Events are late, missing, or set aside": (
        ("mosquitto-persistence", "mosquitto-database"),
        ("set_aside", "set_aside_more"),
    ),
    "After a power cut something is gone": (
        ("disk-writable", "disk-free", "disk-writes", "journal", "state-folder"),
        ("damaged_file",),
    ),
    "Times are wrong, or a profile does not begin at its hour": (("clock",), ()),
    "It is slow, or the board is hot": (("power", "heat", "memory-cgroup"), ()),
    "An edit or a command has no effect": (("watchdog",), ("not_watched", "control", "state_folder")),
}


def to_template(node: ast.expr) -> str:
    """The text of a string in the code, with … for what is filled in; empty for what is none."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(to_template(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.IfExp):
        return to_template(node.body)
    return ""


def load_findings(folder: Path = Path(edged.__file__).parent / "doctor") -> dict[str, list[tuple[str, str]]]:
    """Check → (state, sentence) of every fail and warn that can be."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text())
        names = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for check, row in _rows(function, names):
                if row not in found[check]:
                    found[check].append(row)
    return dict(found)


def _rows(function: ast.FunctionDef, names: dict[str, object]) -> Iterator[tuple[str, tuple[str, str]]]:
    """names: the file's own, for its checks; a sentence may have a name within the function."""
    said = {
        target.id: to_template(node.value)
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and to_template(node.value)
    }
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("fail", "warn") and node.args):
            continue
        first, second = node.args[0], node.args[1] if len(node.args) > 1 else ast.Constant("")
        check = names.get(first.id, "") if isinstance(first, ast.Name) else to_template(first)
        text = said.get(second.id, "") if isinstance(second, ast.Name) else to_template(second)
        if check:
            yield str(check), (node.func.id, " ".join(text.split()))


def to_sentence(kind: str) -> tuple[str, str]:
    """A fault's sentence with … in its fields, and its cure."""
    fields: dict[str, str | float] = {}
    while True:
        try:
            fault = to_standing(kind, **fields)
            return re.sub(r"\b4217(?:\.0)?\b", "…", fault.sentence), fault.cure
        except KeyError as error:
            wanted = re.search(r"has the fields \[(.*?)\]", str(error))
            assert wanted is not None
            fields = dict.fromkeys(re.findall(r"'(\w+)'", wanted[1]), "…")
        except ValueError:  # a field that is a number
            fields = {name: (4217.0 if value == "…" and name in _NUMBERS else value) for name, value in fields.items()}


_NUMBERS = {"count", "times", "limit_s", "size_bytes"}


def to_page() -> str:
    findings = load_findings()
    parts = [_HEAD]
    for symptom, (checks, faults) in SYMPTOMS.items():
        parts.append(f"\n## {symptom}\n")
        rows = [(check, state, text) for check in checks for state, text in findings.get(check, [])]
        shown = [row for row in rows if len(re.sub(r"[^a-z]", "", row[2])) >= _SHORTEST]
        if shown:
            parts.append("| `edged doctor` | says |\n|---|---|\n")
            parts += [f"| `{check}` | {'warning: ' if state == 'warn' else ''}{_cell(text)} |\n" for check, state, text in shown]
        silent = [check for check in checks if check not in {row[0] for row in shown}]
        if silent:
            parts.append(f"\nAlso looked at: {', '.join(f'`{check}`' for check in silent)}.\n")
        if faults:
            parts.append("\n| `edged status` and `health` | what to do |\n|---|---|\n")
            for kind in faults:
                said, cure = to_sentence(kind)
                parts.append(f"| `{kind}`: {_cell(said)} | {_cell(cure) or 'the sentence says it'} |\n")
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def unplaced() -> tuple[set[str], set[str]]:
    """Checks and kinds that are under no symptom."""
    checks = {check for named, _ in SYMPTOMS.values() for check in named}
    faults = {kind for _, named in SYMPTOMS.values() for kind in named}
    return set(load_findings()) - checks, set(kinds()) - faults


if __name__ == "__main__":
    (TOP / "docs/troubleshooting.md").write_text(to_page())
