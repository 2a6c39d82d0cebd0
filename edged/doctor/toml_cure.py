"""Commands that mend a line of edged.toml."""

import re
import shlex

from edged.config.reading import SYSTEM_FILE
from edged.config.source import Source
from edged.doctor.site import Site
from edged.system.documents import load_toml


def to_set(site: Site, source: Source, table: str, key: str, value: str) -> str:
    """A command that sets one key, where it stands or below its table's head; `value` is TOML."""
    file, setting = shlex.quote(source.file or str(SYSTEM_FILE)), f"{key} = {value}"
    lines = site.text(source.file).splitlines() if source.file else []

    def shows(number: int, pattern: str) -> bool:
        return 0 < number <= len(lines) and re.fullmatch(pattern, lines[number - 1]) is not None

    at, head = source.lines.get((table, key), 0), source.lines.get((table,), 0)
    if shows(at, rf"\s*{key}\s*=.*") and _is_whole(lines[at - 1]):
        replaced = re.sub(r"([\\&|])", r"\\\1", setting)
        order = shlex.quote(f"{at}s|.*|{replaced}|")
        return f"sudo sed -i {order} {file}"
    if not at and shows(head, rf"\s*\[\s*{table}\s*\]\s*(#.*)?"):
        order = shlex.quote(f"{head}a {setting}")
        return f"sudo sed -i {order} {file}"
    if not at and not head and (table,) not in source.lines:
        folder = "" if source.file else f"sudo mkdir -p {shlex.quote(str(SYSTEM_FILE.parent))} && "
        text = shlex.quote(f"\\n[{table}]\\n{setting}\\n")
        return f"{folder}printf {text} | sudo tee -a {file}"
    return f"# set {table}.{setting}\nsudoedit {file}"


def to_comment_out(site: Site, file: str, lines: list[int]) -> str:
    """A command that takes whole faulty lines out of use, so that the defaults hold; an editor where that can't be done."""
    text = site.text(file).splitlines()
    if lines and all(0 < n <= len(text) and "=" in text[n - 1] and _is_whole(text[n - 1]) for n in lines):
        orders = ";".join(f"{n}s/^/#/" for n in sorted(set(lines)))
        return f"sudo sed -i {shlex.quote(orders)} {shlex.quote(file)}"
    at = f" +{lines[0]}" if lines and lines[0] > 0 else ""
    return f"sudo ${{EDITOR:-nano}}{at} {shlex.quote(file)}"


def _is_whole(line: str) -> bool:
    """Whether the line is TOML by itself, and no part of something longer."""
    try:
        load_toml(line)
    except ValueError:
        return False
    return True
