"""The way back: walked by hypothesis over a simulated clock, and each door of it once by hand."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edged.faults import to_standing
from edged.rollout.recovery import (
    GOOD_S,
    LONGEST_PAUSE_S,
    MANY,
    SAFE_S,
    Behind,
    EnterSafe,
    GoBack,
    GoneBack,
    Good,
    LeaveSafe,
    Probation,
    Recovery,
    Remember,
    Retry,
    Safe,
)
from tests.campaigns.size import count

FAULT = to_standing("model_refused", reason="x", runs="y")
WENT = to_standing("last_good", reason="x")
SAME = to_standing("vision_lost", times=MANY, reason="x")


class World:
    """Carries out what the recovery asks for: whether a pair is kept, whether it is what runs, whether vision is off."""

    def __init__(self, recovery: Recovery, *, has_pair: bool = False) -> None:
        self.recovery, self.now_s = recovery, 0.0
        self.has_pair, self.runs_pair, self.blind = has_pair, False, recovery.is_safe
        self.pending: int | None = None  # an attempt to remember that is not answered yet
        self.asked: list[object] = []
        self.pauses: list[float] = []

    def do(self, actions: object) -> None:
        for action in list(actions):  # type: ignore[call-overload]
            self.asked.append(action)
            if isinstance(action, Remember):
                assert not self.blind
                self.pending = action.number
            elif isinstance(action, EnterSafe):
                assert not self.blind
                self.blind = True
            elif isinstance(action, LeaveSafe):
                assert self.blind
                self.blind = False
            elif isinstance(action, Retry):
                self.pauses.append(action.pause_s)
            else:
                self._go_back(action)

    def _go_back(self, back: GoBack) -> None:
        assert not self.blind
        if back.only_model:
            self.do(self.recovery.went_back(self.now_s, back, True, WENT))
        elif not self.has_pair:
            self.do(self.recovery.nothing_kept(self.now_s, back, "none"))
        else:
            is_new, self.runs_pair = not self.runs_pair, True
            self.do(self.recovery.went_back(self.now_s, back, is_new, WENT if is_new else SAME))

    def tick(self, *, is_good: bool = True, is_settled: bool = True) -> None:
        self.do(self.recovery.tick(self.now_s, is_good=is_good, is_settled=is_settled))

    def remembered(self, failed: str = "") -> None:
        number, self.pending = self.pending, None
        assert number is not None
        was = self.recovery.state
        self.do(self.recovery.remembered(number, self.now_s, failed))
        if isinstance(self.recovery.state, Good) and was is not self.recovery.state:
            self.has_pair = self.runs_pair = True


class Walk(RuleBasedStateMachine):
    @initialize(has_pair=st.booleans(), begin=st.sampled_from(["new", "behind", "untried", "back", "safe"]))
    def start(self, has_pair: bool, begin: str) -> None:
        state = {
            "new": Probation(0),
            "behind": Behind(0, FAULT),
            "untried": Behind(0, is_untried=True),
            "back": GoneBack(0, WENT),
            "safe": Safe(0, FAULT),
        }[begin]
        self.world = World(Recovery(state), has_pair=has_pair or begin == "back")
        self.world.runs_pair = begin == "back"
        self.recovery = self.world.recovery
        self.crashes: list[float] = []
        self.unusable = 0
        self.safe_since = 0.0

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 30.0, 61.0, 700.0]), is_good=st.booleans(), is_settled=st.booleans())
    def time(self, seconds: float, is_good: bool, is_settled: bool) -> None:
        self.world.now_s += seconds
        was_safe, since = self.recovery.is_safe, self.recovery.state.since_s
        self.world.tick(is_good=is_good, is_settled=is_settled)
        if was_safe:
            assert self.recovery.is_safe == (self.world.now_s - since <= SAFE_S)

    @rule(again=st.integers(1, 4))
    def crash(self, again: int) -> None:
        for _ in range(again):
            had_pair, was = self.world.has_pair, self.recovery.state
            self.world.do(self.recovery.crashed(self.world.now_s, "SIGSEGV"))
            if isinstance(self.recovery.state, Safe) and not isinstance(was, Safe):
                assert not had_pair, "there was something to go back to"

    @rule()
    def change(self) -> None:
        self.world.do(self.recovery.changed(self.world.now_s))
        self.world.runs_pair = False
        self.unusable = 0
        assert isinstance(self.recovery.state, Probation) and self.recovery.faults == []

    @rule()
    def touch(self) -> None:
        behind = self.recovery.is_behind
        self.world.do(self.recovery.touched(self.world.now_s))
        self.world.runs_pair = False
        assert self.recovery.is_behind == behind

    @rule()
    def refuse(self) -> None:
        safe = self.recovery.is_safe
        self.world.do(self.recovery.behind(self.world.now_s, FAULT))
        assert self.recovery.is_behind and self.recovery.is_safe == safe and self.recovery.faults

    @precondition(lambda self: self.recovery.is_untried)
    @rule()
    def try_and_refuse(self) -> None:
        self.world.do(self.recovery.tried(FAULT))
        assert not self.recovery.is_untried and self.recovery.faults

    @rule(works=st.booleans())
    def lose_the_model(self, works: bool) -> None:
        was_safe = self.recovery.is_safe
        self.world.do(self.recovery.unusable(self.world.now_s, "m", "damaged"))
        self.unusable += 1
        assert self.recovery.is_safe == (was_safe or self.unusable > MANY)
        if works:
            self.world.do(self.recovery.proven())
            self.unusable = 0

    @precondition(lambda self: self.world.pending is not None)
    @rule(failed=st.sampled_from(["", "no space left"]))
    def remember(self, failed: str) -> None:
        self.world.remembered(failed)

    @invariant()
    def what_is_told_is_so(self) -> None:
        if not hasattr(self, "world"):
            return
        assert self.world.blind == self.recovery.is_safe
        assert all(0 < pause_s <= LONGEST_PAUSE_S for pause_s in self.world.pauses)
        if isinstance(self.recovery.state, Good):
            assert self.recovery.faults == [] and self.world.has_pair
        if isinstance(self.recovery.state, GoneBack | Safe):
            assert self.recovery.faults


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=count(60, 3000), stateful_step_count=50, deadline=None)


def good_minute(world: World) -> None:
    world.now_s += GOOD_S
    world.tick()
    world.remembered()


def crash(world: World, times: int, apart_s: float = 5.0) -> None:
    for _ in range(times):
        world.now_s += apart_s
        world.do(world.recovery.crashed(world.now_s, "SIGKILL"))


def test_a_good_minute_is_remembered() -> None:
    world = World(Recovery(Probation(0)))
    world.now_s = GOOD_S - 1
    world.tick()
    assert world.asked == []
    world.now_s = GOOD_S
    world.tick(is_good=False)
    world.tick(is_settled=False)
    assert world.asked == []
    good_minute(world)
    assert isinstance(world.recovery.state, Good)
    world.now_s += 1000
    world.tick()
    assert len(world.asked) == 1


def test_a_full_card_is_tried_again_and_told_meanwhile() -> None:
    world = World(Recovery(Probation(0)))
    world.now_s = GOOD_S
    world.tick()
    world.remembered("no space left on device")
    assert [fault.kind for fault in world.recovery.faults] == ["last_good_not_kept"]
    attempts = 0
    for _ in range(3600):
        world.now_s += 1
        world.tick()
        if world.pending is not None:
            attempts += 1
            world.remembered("no space left on device" if attempts < 5 else "")
    assert attempts == 5 and isinstance(world.recovery.state, Good) and world.recovery.faults == []


def test_an_answer_of_before_a_change_is_none() -> None:
    world = World(Recovery(Probation(0)))
    world.now_s = GOOD_S
    world.tick()
    world.do(world.recovery.changed(world.now_s))
    world.remembered()
    assert isinstance(world.recovery.state, Probation)


def test_a_flaky_plug_never_leads_to_blindness_where_a_good_pair_is() -> None:
    """Six kills within a minute of their starts, and then for ever."""
    world = World(Recovery(Probation(0)), has_pair=True)
    crash(world, 6)
    assert isinstance(world.recovery.state, GoneBack) and not world.blind
    world.pauses.clear()
    crash(world, 50, 20.0)
    assert not world.blind and max(world.pauses) == LONGEST_PAUSE_S and world.pauses == sorted(world.pauses)


def test_nor_where_the_good_pair_is_what_runs() -> None:
    world = World(Recovery(Probation(0)), has_pair=True)
    world.runs_pair = True
    crash(world, 60)
    assert not world.blind and [fault.kind for fault in world.recovery.faults] == ["vision_lost"]
    good_minute(world)
    world.now_s += GOOD_S
    assert isinstance(world.recovery.state, Good) and world.recovery.faults == []


def test_without_a_good_pair_six_losses_are_safe_mode_and_ten_minutes_end_it() -> None:
    world = World(Recovery(Probation(0)))
    crash(world, 5)
    assert not world.blind
    crash(world, 1)
    assert world.blind and world.recovery.faults[0].kind == "safe_mode"
    world.now_s += SAFE_S + 1
    world.tick()
    assert not world.blind and world.recovery.faults[0].kind == "after_safe_mode"
    good_minute(world)
    assert world.recovery.faults == []


def test_losses_far_apart_mean_nothing() -> None:
    world = World(Recovery(Probation(0)), has_pair=True)
    crash(world, 20, 40.0)
    assert world.asked == []


def test_a_damaged_file_once_in_a_while_is_no_reason_for_safe_mode() -> None:
    """Last good ran each time: the count is of models in a row."""
    world = World(Recovery(Probation(0)), has_pair=True)
    for _ in range(10):
        world.do(world.recovery.unusable(world.now_s, "m", "damaged"))
        world.do(world.recovery.proven())
    assert not world.blind
    for _ in range(MANY + 1):
        world.do(world.recovery.unusable(world.now_s, "m", "damaged"))
    assert world.blind


def test_no_model_at_all_is_safe_mode() -> None:
    recovery = Recovery(Probation(0))
    (back,) = recovery.unusable(1, "m", "damaged")
    assert isinstance(back, GoBack) and isinstance(recovery.nothing_kept(1, back, "no model")[0], EnterSafe)


def test_what_was_put_off_for_a_reason_keeps_it() -> None:
    recovery = Recovery(Behind(0, WENT, is_untried=True))
    recovery.tried(FAULT)
    assert recovery.faults == [WENT] and not recovery.is_untried
    recovery.behind(1, FAULT)
    assert recovery.faults == [FAULT]


@pytest.mark.parametrize("state", [Good(0), Safe(0, FAULT)])
def test_a_loss_that_leads_nowhere(state: Good | Safe) -> None:
    recovery = Recovery(state)
    assert [recovery.crashed(n, "x") for n in range(9)] == [[]] * 9
    assert recovery.state is state
