"""One figure for each promise, in every document that names it; and it is the one of the code."""

import re
from pathlib import Path

import pytest

from edged.config.settings import OutboxSection
from edged.daemon import requests
from edged.delivery import retained
from edged.delivery.broker import connection, inflight, poison, reconnect
from edged.delivery.outbox import changes, database, queue, rows, writer
from edged.delivery.outbox.drops import OutboxLimits

CHECKOUT = Path(__file__).parents[3]
DOCUMENTS = ("README.md", "docs/config.md", "config/edged.toml", "docs/delivery.md")
LIMITS = OutboxLimits()

# in docs/delivery.md, as the code has them
FIGURES = [
    f"every {writer._COMMIT_S * 1000:g} ms or {writer._COMMIT_CHANGES} changes",
    f"what was decided in the last {writer._COMMIT_S * 1000:g} ms",
    f"longer than {writer._COMMIT_S * 1000:g} ms for a sync",
    f"at most {connection.WINDOW}, the window",
    f"younger than {rows.LATE_NS / 1e9:g} s at the moment of sending",
    f"tried again after {retained._FIRST_PAUSE_S:g},",
    f"then every {retained._LONGEST_PAUSE_S:g} s",
    f"a pause that grows to {poison._TOPIC_PAUSE_S:g} s, after {poison._TOPIC_STRIKES} times to",
    f"{poison._AGAIN_S:g} s after a connection begins",
    f"{poison._NEW_VALUE_S:g} s after it changes",
    f"({poison._NEW_VALUE_LATE_S:g} s after {poison._TOPIC_STRIKES} times)",
    f"that grows to {poison._LONGEST_PAUSE_S / 60:g} minutes, until it is acknowledged",
    f"at last every {poison._LONGEST_PAUSE_S / 60:g} minutes",
    f"for {inflight.ANSWER_S:g} s without an answer",
    f"the pause grows from {inflight._AGAIN_S:g} to {inflight._LONGEST_AGAIN_S:g} s",
    f"the last {database._MOST_DEAD:,}",
    f"A packet of more than {connection.COMMAND_BYTES // 1024} kB",
    f"at most {reconnect._LONGEST_LOOPBACK_S:g} s on loopback, {reconnect._LONGEST_S:g} s elsewhere",
    f"({LIMITS.memory_rows:,} events, {LIMITS.memory_bytes // 10**6} MB)",
    f"every {queue._HEAL_NS / 1e9:g} s the disk is tried again",
    f"The files are looked at every {writer._KEEP_UP_S:g} s",
    f"The tail is {changes.LARGEST_BYTES // 1024**2} MB at most",
    f"at most {requests._COMMANDS_PER_S:g} a second, {requests._COMMANDS_AT_ONCE} at once",
]


def text_of(document: str) -> str:
    return " ".join((CHECKOUT / document).read_text().split())


def test_a_power_cut_costs_the_same_in_every_document() -> None:
    found = {document: set(re.findall(r"decided in the last (\d+) ms", text_of(document))) for document in DOCUMENTS}
    assert found == {document: {f"{writer._COMMIT_S * 1000:g}"} for document in DOCUMENTS}


@pytest.mark.parametrize("figure", FIGURES)
def test_the_figure_is_the_one_of_the_code(figure: str) -> None:
    assert figure in text_of("docs/delivery.md")


def test_the_limits_are_those_of_the_config() -> None:
    section = OutboxSection()
    assert (LIMITS.ttl_s, LIMITS.max_rows, LIMITS.max_bytes, LIMITS.keep_rows) == (
        section.ttl_s, section.max_rows, section.max_mb * 1e6, section.keep_rows,
    )  # fmt: skip
    assert section.ttl_s == 30 * 86400
    assert f"events older than this are dropped; {section.ttl_s / 86400:g} days" in text_of("docs/config.md")


def test_files_that_are_taken_away_are_noticed_within_5_s() -> None:
    assert writer._KEEP_UP_S <= 5
