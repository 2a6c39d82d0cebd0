"""State files that are whole and say what can not be: another value in each place. edged starts, and believes little."""

import copy
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edged.config.reading import read_settings
from edged.models.fingerprints import fingerprints_in
from edged.models.measurements import Measurements
from edged.rollout.last_good import LastGood
from edged.rollout.override import save_tuned, to_tuned
from tests.campaigns.size import SEED, count, report
from tests.campaigns.test_damaged_state import build, fresh, start

NASTY: list[Any] = [
    0, -1, 1, 2**31, 2**63, 10**30, 1e308, -1e308, math.nan, math.inf, 1e-320, True, None, "", "x" * 300, "../../x", "\x1b[2J",
    [], {}, 0.5,
]  # fmt: skip
TUNED = {"decision.enter": 0.7, "camera.region": [0.1, 0.1, 0.5, 0.5]}


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in a document, of each that is no table."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict):
        yield above
    for key, one in inner:
        yield from places(one, (*above, key))


def with_other(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    at = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return changed


def test_what_can_not_be_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = build(tmp_path / "whole")
    save_tuned(tmp_path / "whole/state", to_tuned(read_settings(whole).settings, TUNED, "page"))
    files = sorted((tmp_path / "whole/state").rglob("*.json"))
    assert len(files) >= 6
    cases = [(path, place, value) for path in files for place in places(json.loads(path.read_text())) for value in NASTY]
    chosen = random.Random(SEED).sample(cases, min(len(cases), count(80, len(cases))))
    for path, place, value in chosen:
        one = fresh(whole, tmp_path / "one")
        state = tmp_path / "one/state"
        lying = state / path.relative_to(tmp_path / "whole/state")
        lying.write_text(json.dumps(with_other(json.loads(lying.read_text()), place, value)))
        fingerprints_in.cache_clear()
        case = (lying.name, place, value)
        try:
            begun, _, told = start(one)
        except BaseException as error:
            raise AssertionError(f"{case}: {error!r}") from error
        assert all(sentence.isprintable() for sentence in told), case
        kept = LastGood(state).running()
        assert begun.active.threads >= 1 and (kept is None or 1 <= kept.threads <= 1024), case
        for measured in Measurements(state).measurements().values():
            assert math.isfinite(measured.p95_ms) and measured.p95_ms >= 0 and measured.threads >= 1, case
    report("lying_state", {"cases": len(chosen), "of": len(cases), "refused": 0, "seed": SEED})


def test_threads_that_no_board_has_are_not_handed_to_the_runtime(tmp_path: Path) -> None:
    """One bit of the last good model's record makes 0 of 1, and that model would never load."""
    path = build(tmp_path)
    record = tmp_path / "state/last_good/pair.json"
    for threads in (0, -1, 10**9):
        record.write_text(json.dumps(json.loads(record.read_text()) | {"threads": threads}))
        assert LastGood(tmp_path / "state").running() is None
    assert start(path)[1], "it is told as damaged, and moved aside"
