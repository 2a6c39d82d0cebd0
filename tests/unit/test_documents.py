"""The documents agree with each other and with the code: links lead somewhere, commands are run by a test or say why not."""

import html
import itertools
import re
import runpy
from pathlib import Path

import pytest

from edged.models.fit import plot
from tests.documents import COMMANDS, DOCUMENTS, TOP, NotRun, RunBy, RunHere, commands_of

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """As GitHub makes them of headings."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.*)$", without_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", h).lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    for link in _LINK.findall(text):
        if re.match(r"https?://|mailto:", link):
            continue  # nothing is fetched
        name, _, anchor = link.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), f"{document.name}: {link}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.read_text()), f"{document.name}: {link}"


def test_there_are_links_and_commands_at_all() -> None:
    assert sum(len(_LINK.findall(path.read_text())) for path in DOCUMENTS) > 100
    assert sum(len(commands_of(path)) for path in DOCUMENTS) > 40


def test_every_command_is_run_by_a_test_or_says_why_not() -> None:
    found = {command for path in DOCUMENTS for command in commands_of(path)}
    assert found - COMMANDS.keys() == set(), "each belongs into tests/documents.py"
    assert COMMANDS.keys() - found == set(), "no document has these any more"


@pytest.mark.parametrize("command", [name for name, how in COMMANDS.items() if isinstance(how, RunBy)])
def test_the_test_that_is_said_to_run_it_is_there(command: str) -> None:
    how = COMMANDS[command]
    assert isinstance(how, RunBy)
    path, _, name = how.test.partition("::")
    text = (TOP / path).read_text()
    assert not name or re.search(rf"^ *(?:async )?def {re.escape(name)}\(", text, re.MULTILINE), how.test
    assert how.words in text, f"{path} has no {how.words!r}"


def test_what_is_not_run_has_a_reason() -> None:
    reasons = [how.why for how in COMMANDS.values() if isinstance(how, NotRun)]
    assert all(len(why) > 15 for why in reasons)
    assert sum(isinstance(how, RunHere | RunBy) for how in COMMANDS.values()) > len(reasons), "most of them are run"


def test_troubleshooting_is_what_the_code_can_say() -> None:
    script = runpy.run_path(str(TOP / "docs/write_troubleshooting.py"))
    assert script["unplaced"]() == (set(), set()), "each check and each kind of fault belongs under a symptom"
    assert (TOP / "docs/troubleshooting.md").read_text() == script["to_page"](), "run 'make docs'"


def test_documents_say_one_thing_about_profiles_and_durability() -> None:
    everything = "\n".join(path.read_text() for path in [*DOCUMENTS, TOP / "config/edged.toml"])
    assert "nothing selects them" not in everything and "in a later version" not in everything
    lost = re.findall(r"(?:in the last|every) ([\d.]+ m?s)(?: or 64 changes)?", everything)
    assert {one for one in lost if one in ("250 ms", "1 s")} == {"250 ms"}


def shown(svg: str) -> list[str]:
    """The lines of a terminal's picture."""
    return [html.unescape(text).replace("\xa0", " ") for text in re.findall(r"<text [^>]*>([^<]*)</text>", svg)]


def test_the_contact_sheet_shows_each_command_and_the_demo_s_columns_are_columns() -> None:
    sheet = shown((TOP / "docs/terminal.svg").read_text())
    for command in ("status", "watch", "check", "doctor", "fit", "demo", "teach"):
        assert any(line.startswith(f"$ edged {command}") for line in sheet), command
    rows = [line for line in shown((TOP / "docs/demo.svg").read_text()) if line.startswith("edged/demo/")]
    assert len(rows) > 20
    for line in rows:
        said = line[23:]
        assert re.fullmatch(r"edged/demo/\w+ +", line[:23]), line
        for what, ends in ((r"(?<= )\d\.\d\d(?= )", 51), (r"(?<= )\d+ m?s(?=  |$)", 61)):  # the score, and the age
            found = re.search(what, said[:39])
            assert found is None or 23 + found.end() == ends, line


def test_no_label_of_the_picture_of_models_covers_another() -> None:
    boxes = []
    text = (TOP / "docs/models.svg").read_text()
    for x, y, anchor, name in re.findall(r'<text x="([\d.]+)" y="([\d.]+)" font-size="11" text-anchor="(\w+)"[^>]*>([^<]*)<', text):
        wide = len(name) * plot._LETTER_PX
        left = float(x) - (wide if anchor == "end" else 0)
        boxes.append((left, float(y), left + wide, float(y) + plot._LABEL_PX))
    assert len(boxes) >= 15
    assert [(a, b) for a, b in itertools.combinations(boxes, 2) if plot._overlap(a, b)] == []
