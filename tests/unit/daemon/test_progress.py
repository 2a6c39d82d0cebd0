"""Who is late; and that every deadline of the daemon's own lies below the watchdog's, counted from the numbers in the code."""

import configparser
from pathlib import Path

import pytest

from edged.daemon.progress import GRACE_S, Progress
from edged.daemon.watchdog import BROKER_LIMIT_S, FIRST_FRAME_LIMIT_S, LOOK_S, WRITER_LIMIT_S
from edged.delivery.broker import connection
from edged.delivery.broker import reconnect as broker
from edged.models import admission
from edged.process import supervisor as supervision
from edged.process.sandbox import START_LIMIT_S as TRIAL_START_LIMIT_S

UNIT = Path(__file__).parents[3] / "systemd" / "edged.service"


@pytest.fixture(scope="module")
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str
    parser.read(UNIT)
    return parser["Service"]


def test_a_part_that_gives_its_signs_is_not_stuck():
    progress = Progress()
    for now_s in range(100):
        progress.expect("writer", now_s + 2)
        assert progress.stuck(now_s) == ""


def test_a_part_is_stuck_when_looks_saw_it_late_for_the_whole_grace():
    progress = Progress()
    progress.expect("writer", 10)
    progress.expect("broker", 100)
    said = [progress.stuck(float(now_s)) for now_s in range(30)]
    first = next(n for n, words in enumerate(said) if words)
    assert 10 + GRACE_S < first <= 10 + GRACE_S + 1
    assert said[first] == f"writer gives no sign of life for {first - 10:.0f} s longer than it may take"
    progress.expect("writer", 40)
    assert progress.stuck(31) == ""


def test_a_machine_that_stood_still_makes_nobody_stuck():
    progress = Progress()
    progress.expect("writer", 10)
    progress.expect("broker", 11)
    assert progress.stuck(5) == ""
    assert progress.stuck(5000) == ""  # the first look after an hour: everybody is late, and nobody had a chance
    progress.expect("writer", 5002)
    progress.expect("broker", 5002)
    assert progress.stuck(5001) == ""


def test_nothing_is_expected_of_a_part_that_is_not_there():
    progress = Progress()
    progress.expect("vision", 1)
    progress.expect("vision", None)
    assert [progress.stuck(float(now_s)) for now_s in range(20)] == [""] * 20


@pytest.mark.parametrize(
    ("what", "limit_s"),
    [
        ("a vision process that starts", supervision.START_LIMIT_S),
        ("a vision process that beats", supervision.BEAT_LIMIT_S),
        ("one that is waited for", supervision._LONGEST_DELAY_S),
        ("one that was asked to end", supervision._RENEW_LIMIT_S),
        ("the broker's clockwork", BROKER_LIMIT_S),
        ("the outbox's writer", LOOK_S + WRITER_LIMIT_S),
    ],
)
def test_each_part_is_found_stuck_before_the_watchdog_bites(unit, what, limit_s):
    """The limit; the look that sees it late; the grace, and the look that ends it. And a stuck part's restart is soon."""
    found_s = limit_s + LOOK_S + GRACE_S + LOOK_S
    assert found_s < float(unit["WatchdogSec"]), f"{what}: {found_s:g} s"
    assert found_s + float(unit["TimeoutAbortSec"]) + float(unit["RestartSec"]) < 40, what


def test_what_mends_itself_is_over_before_the_watchdog_bites(unit):
    watchdog_s = float(unit["WatchdogSec"])
    assert broker._TICK_S < BROKER_LIMIT_S
    assert watchdog_s > connection._HANDSHAKE_S + connection._CONNACK_S + broker._TICK_S  # a connection's way to an answer
    assert watchdog_s > 2 * connection._QUIET_S + broker._TICK_S  # a dead connection
    assert watchdog_s > supervision.BEAT_LIMIT_S + supervision._LONGEST_DELAY_S  # a vision process that hangs, to its next start


def test_the_loop_itself_is_missed_soon_enough(unit):
    """A courier that hangs as a whole feeds nobody: the watchdog, and the pause before the restart."""
    assert float(unit["WatchdogSec"]) + float(unit["TimeoutAbortSec"]) + float(unit["RestartSec"]) < 40


def test_a_start_has_the_time_that_it_may_take(unit):
    """Before the loop runs, only systemd's own limit holds: a model that is tried. Afterwards more time is asked for."""
    tried_s = TRIAL_START_LIMIT_S + admission.CHECK_LIMIT_S
    assert tried_s < float(unit["TimeoutStartSec"])
    assert supervision.START_LIMIT_S + supervision.BEAT_LIMIT_S < FIRST_FRAME_LIMIT_S


def test_a_stop_is_not_cut_short(unit):
    from edged.rollout import effects

    assert float(unit["TimeoutStopSec"]) > 3 * effects.STOP_S
