"""The way back, as a state machine: it is told what happened and when, and returns what is to be done. Pure.

Probation: something new runs and must show for a minute that it can. Good: it did, and is remembered. Behind: what is asked
for does not run, something older does. GoneBack: the last good config and model run. Safe: no vision at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edged.faults import StandingFault, to_standing

GOOD_S = 60.0  # with frames: what runs is good
CRASHES_S = 60.0  # so many crashes within this mean that it is not
MANY = 3
SAFE_S = 600.0  # after so long safe mode tries again by itself: nobody may ever come
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # before the next start of what can't be taken back any further
FIRST_KEEP_S, LONGEST_KEEP_S = 30.0, 600.0  # before the next attempt to remember, on a full disk


@dataclass(frozen=True, slots=True)
class Probation:
    since_s: float
    fault: StandingFault | None = None
    is_last: bool = False  # the last good pair itself, or there is none: nothing to go back to


@dataclass(frozen=True, slots=True)
class Good:
    since_s: float


@dataclass(frozen=True, slots=True)
class Behind:
    since_s: float
    fault: StandingFault | None = None
    is_untried: bool = False  # it is yet to be tried


@dataclass(frozen=True, slots=True)
class GoneBack:
    since_s: float
    fault: StandingFault


@dataclass(frozen=True, slots=True)
class Safe:
    since_s: float
    fault: StandingFault


State = Probation | Good | Behind | GoneBack | Safe


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep what runs as last good, and tell `remembered` with this number."""

    number: int


@dataclass(frozen=True, slots=True)
class GoBack:
    """To the last good pair, and tell `went_back`. only_model: the config is not to blame."""

    why: str
    only_model: bool = False


@dataclass(frozen=True, slots=True)
class EnterSafe:
    fault: StandingFault


@dataclass(frozen=True, slots=True)
class LeaveSafe:
    pass


@dataclass(frozen=True, slots=True)
class Retry:
    """Start the vision process again, but not sooner than this."""

    pause_s: float


Action = Remember | GoBack | EnterSafe | LeaveSafe | Retry
Actions = Sequence[Action]


class Recovery:
    """Thread: one. Times are monotonic."""

    def __init__(self, state: State) -> None:
        self.state: State = state
        self._crashes: tuple[float, ...] = ()
        self._pause_s = FIRST_PAUSE_S
        self._lost = 0  # times that many crashes led nowhere, for want of a good pair
        self._unusable = 0  # models in a row that could not be loaded
        self._number = 0  # of the attempt to remember
        self._keeping = False
        self._keep_at_s, self._keep_pause_s = 0.0, FIRST_KEEP_S
        self._not_kept: StandingFault | None = None

    @property
    def faults(self) -> list[StandingFault]:
        own = None if isinstance(self.state, Good) else self.state.fault
        return [fault for fault in (own, self._not_kept) if fault is not None]

    @property
    def is_safe(self) -> bool:
        return isinstance(self.state, Safe)

    @property
    def is_behind(self) -> bool:
        """What is asked for does not run."""
        return isinstance(self.state, Behind | GoneBack | Safe)

    @property
    def is_untried(self) -> bool:
        """What is asked for is yet to be tried."""
        return isinstance(self.state, Behind) and self.state.is_untried

    # what was decided elsewhere

    def changed(self, now_s: float) -> Actions:
        """What is asked for runs from now on."""
        was_safe = self.is_safe
        self._begin(Probation(now_s))
        self._lost = self._unusable = 0
        return [LeaveSafe()] if was_safe else []

    def touched(self, now_s: float) -> Actions:
        """Something of the settings changed, but not which model: it must show its minute again, and is as far behind as before."""
        if isinstance(self.state, Good | Probation):
            self._begin(Probation(now_s))
        return []

    def behind(self, now_s: float, fault: StandingFault) -> Actions:
        """What was asked for was refused; what ran before runs."""
        if isinstance(self.state, GoneBack):
            self.state = replace(self.state, fault=fault)
        elif not self.is_safe:
            self._begin(Behind(now_s, fault))
        return []

    def tried(self, fault: StandingFault) -> Actions:
        """What was put off at the start was refused. Where it was put off for a reason, that one still holds."""
        if isinstance(self.state, Behind):
            self.state = replace(self.state, fault=self.state.fault or fault, is_untried=False)
        return []

    # what the vision process did

    def crashed(self, now_s: float, why: str) -> Actions:
        """It died or hung. What is good already is only started again, with the supervisor's pauses."""
        if isinstance(self.state, Safe | Good):
            return []
        is_last = isinstance(self.state, GoneBack) or (isinstance(self.state, Probation) and self.state.is_last)
        self._crashes = (*(at for at in self._crashes if at >= now_s - CRASHES_S), now_s)
        if not is_last and len(self._crashes) >= MANY:
            self._crashes = ()
            return [GoBack(f"the vision process was lost {MANY} times in a row ({why})")]
        if not is_last:
            return []
        pause_s, self._pause_s = self._pause_s, min(LONGEST_PAUSE_S, self._pause_s * 2)
        if len(self._crashes) >= MANY and isinstance(self.state, Probation):
            self._crashes = ()
            if self._lost:
                return self._enter_safe(now_s, f"the vision process was lost {MANY} times more ({why})")
        return [Retry(pause_s)]

    def unusable(self, now_s: float, model: str, reason: str) -> Actions:
        """The model that runs can't be loaded any more."""
        self._unusable += 1
        if self.is_safe:
            return []
        if self._unusable > MANY:
            return self._enter_safe(now_s, f"no model can be loaded ({reason})")
        return [GoBack(to_standing("model_gone", model=model, reason=reason).sentence, only_model=True)]

    def proven(self) -> Actions:
        """A model was loaded and runs."""
        self._unusable = 0
        return []

    # what became of an action

    def went_back(self, now_s: float, back: GoBack, found: bool, fault: StandingFault) -> Actions:
        """found: the last good pair (or, for only_model, some model) runs now. Else it is what runs already."""
        if found:
            self._begin(GoneBack(now_s, fault))
        else:
            self._begin(Probation(now_s, fault, is_last=True))
        return [Retry(FIRST_PAUSE_S)] if not back.only_model else []

    def nothing_kept(self, now_s: float, back: GoBack, why: str) -> Actions:
        """There is no good pair, or no model at all: once it is tried again, then there is no vision."""
        if back.only_model:
            return self._enter_safe(now_s, why)
        self._begin(Probation(now_s, to_standing("vision_lost", times=MANY, reason=why), is_last=True))
        self._lost += 1
        return [Retry(FIRST_PAUSE_S)]

    def remembered(self, number: int, now_s: float, failed: str) -> Actions:
        """failed: why it was not; empty when it was."""
        if number != self._number or not self._keeping:
            return []  # of what does not run any more
        self._keeping = False
        if failed:
            self._not_kept = to_standing("last_good_not_kept", reason=failed)
            self._keep_at_s, self._keep_pause_s = now_s + self._keep_pause_s, min(LONGEST_KEEP_S, self._keep_pause_s * 2)
        else:
            self.state, self._not_kept, self._lost = Good(now_s), None, 0
        return []

    # as time goes by

    def tick(self, now_s: float, *, is_good: bool, is_settled: bool) -> Actions:
        """Once a second. is_good: frames are classified, or a known scene is unchanged. is_settled: no model is on trial."""
        state = self.state
        if isinstance(state, Safe):
            if now_s - state.since_s <= SAFE_S:
                return []
            self._begin(Probation(now_s, to_standing("after_safe_mode")))
            return [LeaveSafe()]
        if not is_good or not is_settled or now_s - state.since_s < GOOD_S:
            return []
        if isinstance(state, GoneBack) and not self._is_shaken(now_s):
            self._pause_s = FIRST_PAUSE_S
        if not isinstance(state, Probation) or self._is_shaken(now_s) or self._keeping or now_s < self._keep_at_s:
            return []
        self._number, self._keeping = self._number + 1, True
        return [Remember(self._number)]

    def _is_shaken(self, now_s: float) -> bool:
        """It crashed within the last minute."""
        return bool(self._crashes) and self._crashes[-1] > now_s - CRASHES_S

    def _enter_safe(self, now_s: float, reason: str) -> Actions:
        fault = to_standing("safe_mode", reason=reason)
        self._begin(Safe(now_s, fault))
        return [EnterSafe(fault)]

    def _begin(self, state: State) -> None:
        """Whatever was counted for what ran before is forgotten."""
        if not isinstance(state, Probation) or not state.is_last:
            self._pause_s = FIRST_PAUSE_S
        self.state, self._crashes, self._keeping = state, (), False
        self._keep_at_s, self._keep_pause_s, self._not_kept = 0.0, FIRST_KEEP_S, None
