"""Which model runs and why, from what was found out before: no model is tried here."""

import asyncio
from pathlib import Path

import pytest

from edged.config.parts import to_wanted
from edged.config.reading import Settings, to_settings
from edged.config.source import parse_source
from edged.errors import EdgedError, ModelError
from edged.models.measurements import Verdict
from edged.models.store import Store
from edged.rollout.active import Active
from edged.rollout.selector import FIRST_PAUSE_S, BackgroundFit, Selector
from tests.unit.daemon.played import LARGE, SMALL, admit, measure

AUTO = "[budget]\nlatency_ms = 50.0\nmemory_mb = 500.0\n"


def settings(folder: Path, text: str) -> Settings:
    return to_settings(parse_source(folder / "edged.toml", f'state_folder = "{folder}"\n{text}'.encode())).settings


def selector(folder: Path, text: str = f'[model]\nname = "{SMALL}"\n') -> Selector:
    return Selector(to_wanted(settings(folder, text)))


def test_a_named_model_that_was_admitted_before(tmp_path: Path) -> None:
    admit(tmp_path, SMALL)
    active = selector(tmp_path).begin("use", None)
    assert active is not None and active.name == SMALL and active.why == f"use: model.name = {SMALL}" and active.measured is None
    again = selector(tmp_path).begin("config", active)
    assert again is not None and again.is_same(active)


def test_another_one_than_the_kept_one_waits_for_its_trial(tmp_path: Path) -> None:
    admit(tmp_path, SMALL)
    kept = selector(tmp_path).begin("config", None)
    other = selector(tmp_path, f'[model]\nname = "{LARGE}"\n')
    assert other.begin("config", kept) is None
    admit(tmp_path, LARGE, Verdict(admitted=False, reason="nonsense"))
    with pytest.raises(ModelError, match=f"model {LARGE} is refused: nonsense"):
        other.begin("config", kept)
    with pytest.raises(ModelError, match=f"refused: nonsense; 'edged models verify {LARGE} --again' tries it anew"):
        asyncio.run(other.prepare("use"))


def known(folder: Path, large_ms: float = 40.0) -> Selector:
    """Every member of the family is admitted, and measured."""
    wanted = to_wanted(settings(folder, AUTO))
    for held in Store(folder).held():
        if held.card.family == "home":
            admit(folder, held.card.name)
            measure(folder, held.card.name, large_ms if held.card.name != SMALL else 10.0, wanted)
    return Selector(wanted)


def test_auto_recalls_its_choice_and_makes_a_ladder_of_what_is_faster(tmp_path: Path) -> None:
    one = known(tmp_path)
    active = asyncio.run(one.prepare("config"))
    assert active.why.startswith("auto: the most accurate of home") and active.measured is not None and not one.needs_fit
    assert asyncio.run(one.prepare("use")).why.startswith("use: auto: ")
    assert one.begin("config", None) == active
    governor = one.governor(active, 0.0)
    assert governor.name == active.name and governor.rate == 1.0
    small = one.step_to(SMALL, active)
    assert small.name == SMALL and small.why == active.why and one.step_to(active.name, active) is active


def test_auto_runs_the_smallest_where_nothing_is_known_or_nothing_fits(tmp_path: Path) -> None:
    admit(tmp_path, SMALL)
    for held in Store(tmp_path).held():
        admit(tmp_path, held.card.name)
    unknown = selector(tmp_path, AUTO)
    active = asyncio.run(unknown.prepare("config"))
    assert "fit has not measured yet" in active.why and unknown.needs_fit and unknown.limit_ms == 50.0
    nothing = known(tmp_path / "other", large_ms=400.0)
    wanted = to_wanted(settings(tmp_path / "other", AUTO.replace("50.0", "5.0")))
    nothing = Selector(wanted)
    assert "nothing fits the budget" in asyncio.run(nothing.prepare("config")).why or nothing.needs_fit


def test_a_damaged_model_has_no_place_on_the_ladder(tmp_path: Path) -> None:
    one = known(tmp_path)
    assert not one._is_admitted("no-such-model") and one._is_admitted(SMALL)


def test_a_fit_that_fails_is_told_and_tried_again_with_growing_pauses() -> None:
    told: list[tuple[str, str]] = []
    pauses: list[float] = []
    left = [EdgedError("no memory"), EdgedError("no processes")]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert fit.fault is not None and fit.fault.kind == "fit_failed"

    async def measured() -> Active | None:
        if left:
            raise left.pop(0)
        return None

    fit = BackgroundFit(lambda asked, why: told.append((asked, why)), pause)
    assert asyncio.run(fit.run(measured)) is None
    assert pauses == [FIRST_PAUSE_S, FIRST_PAUSE_S * 2]
    assert [why for _, why in told][:2] == ["fit failed: no memory", "fit failed: no processes"]
    assert fit.fault is not None and fit.fault.kind == "nothing_fits"
