"""The budget at run time: down when the board suffers or gets slow, up again when it would hold. Pure; time is handed in.

Heat and under-voltage: first a lower rate, then the next smaller model. Latencies over the budget for a while: the model
that is predicted to meet it now. Up again only after a calm time, only to what is predicted to hold by how slow the board
is *now*, and after each attempt that had to be taken back the calm time doubles: nothing an input does makes it flap.

It proposes a step and is told whether it was taken. A model that was refused is left out for an hour.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from edged.system.heat import Heat

RATES = (1.0, 0.5, 0.25)  # of the configured frame rate
WINDOW_S = 8.0  # of latencies that are looked at
SLOW_S = 5.0  # over the budget for so long: sustained
HOT_S = 5.0
COOLING_S = 30.0  # a step against heat needs so long to show
CALM_S = 20.0  # the first wait before a step up
LONGEST_CALM_S = 3600.0
REGRET_S = 600.0  # a step up that must be taken back within this was wrong
REFUSED_S = 3600.0  # a model that was refused is not proposed again before
_FEWEST = 3  # latencies over the budget that mean something
_SHARE = 0.05  # p95
_JITTER = 2.0  # a larger model is interrupted more often
_ROOM, _HEADROOM = 0.9, 0.75  # of the budget: what a step down aims at, and what a step up must be predicted to meet


@dataclass(frozen=True, slots=True)
class Rung:
    """One model of the ladder; ms: its typical latency on the board at rest."""

    name: str
    ms: float


@dataclass(frozen=True, slots=True)
class Step:
    """What shall run from now on, and why. rate: share of the configured frame rate."""

    name: str
    rate: float
    reason: str


class Governor:
    """Thread: one. `see` each result, ask `step` each second, and answer each step with `accepted` or `refused`."""

    def __init__(self, rungs: Sequence[Rung], limit_ms: float, now_s: float) -> None:
        """rungs: the chosen model first, then ever smaller and faster ones. limit_ms may be infinite."""
        self._rungs, self._limit_ms = tuple(rungs), limit_ms
        self._rung = self._rate = 0
        self._latencies: deque[tuple[float, float]] = deque()
        self._slow_since: float | None = None
        self._hot_since: float | None = None
        self._calm_since = now_s
        self._stepped_s = float("-inf")
        self._raised_s = float("-inf")
        self._calm_s = CALM_S
        self.reason = ""  # why it is not at the top; empty at the top
        self._before: tuple[int, int, str] | None = None  # rung, rate and reason before the step that is not answered yet
        self._refused: dict[str, float] = {}  # until when

    @property
    def is_asking(self) -> bool:
        """A step is not answered yet."""
        return self._before is not None

    def accepted(self) -> None:
        """The model of the last step runs."""
        self._before = None

    def refused(self, now_s: float) -> None:
        """The model of the last step does not run, the one before does."""
        if self._before is None:
            return
        self._refused[self.name] = now_s + REFUSED_S
        self._rung, self._rate, self.reason = self._before
        self._before = None
        self._slow_since = self._hot_since = None
        self._stepped_s = self._raised_s = float("-inf")

    @property
    def name(self) -> str:
        return self._rungs[self._rung].name

    @property
    def rate(self) -> float:
        return RATES[self._rate]

    def see(self, now_s: float, latency_ms: float) -> None:
        """The latency of one inference of the model that runs now."""
        self._latencies.append((now_s, latency_ms))

    def step(self, now_s: float, heat: Heat) -> Step | None:
        """What to change now, or None. At most one change a call; the latencies before it are forgotten."""
        if self._before is not None:
            return None
        self._refused = {name: until_s for name, until_s in self._refused.items() if now_s < until_s}
        while self._latencies and self._latencies[0][0] < now_s - WINDOW_S:
            self._latencies.popleft()
        is_slow, is_hot = self._is_slow(), bool(heat.trouble)
        self._slow_since = (self._slow_since if self._slow_since is not None else now_s) if is_slow else None
        self._hot_since = (self._hot_since if self._hot_since is not None else now_s) if is_hot else None
        if self._hot_since is not None and now_s - self._hot_since >= HOT_S and now_s - self._stepped_s >= COOLING_S:
            return self._down_by_heat(now_s, heat)
        if self._slow_since is not None and now_s - self._slow_since >= SLOW_S:
            return self._down_by_latency(now_s)
        above = self._above()
        if not heat.is_well or is_slow or not self._would_hold(above[0] if above else self._rung):
            self._calm_since = now_s
        elif now_s - max(self._calm_since, self._stepped_s) >= self._calm_s:
            return self._up(now_s)
        return None

    def _is_slow(self) -> bool:
        over = sum(ms > self._limit_ms for _, ms in self._latencies)
        return over >= _FEWEST and over > _SHARE * len(self._latencies)

    def _quantile_ms(self, share: float) -> float | None:
        if len(self._latencies) < _FEWEST:
            return None
        ordered = sorted(ms for _, ms in self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def _would_hold(self, rung: int) -> bool:
        """By how slow the board is now. The typical latency grows with the model; what interrupts it less than that."""
        if rung == self._rung:
            return True
        low_ms, high_ms = self._quantile_ms(0.5), self._quantile_ms(1 - _SHARE)
        if low_ms is None or high_ms is None:
            return False
        expected_ms = low_ms * self._rungs[rung].ms / self._rungs[self._rung].ms + _JITTER * (high_ms - low_ms)
        return expected_ms <= self._limit_ms * _HEADROOM

    def _down_by_heat(self, now_s: float, heat: Heat) -> Step | None:
        if self._rate + 1 < len(RATES):
            return self._stepped(now_s, self._rung, self._rate + 1, f"{heat.trouble}; {RATES[self._rate + 1]:g} of the frame rate")
        if below := self._below():
            return self._stepped(now_s, below[0], self._rate, f"{heat.trouble}; a smaller model")
        return None

    def _down_by_latency(self, now_s: float) -> Step | None:
        below = self._below()
        if not below:
            return None
        p95_ms = self._quantile_ms(1 - _SHARE) or self._limit_ms
        slower = p95_ms / self._rungs[self._rung].ms
        rung = next((n for n in below if self._rungs[n].ms * slower <= self._limit_ms * _ROOM), below[-1])
        reason = f"latency p95 {p95_ms:.0f} ms of {self._limit_ms:g} ms for {SLOW_S:g} s; a smaller model"
        return self._stepped(now_s, rung, self._rate, reason)

    def _up(self, now_s: float) -> Step | None:
        if above := self._above():
            rung = next((n for n in reversed(above) if self._would_hold(n)), above[0])
            return self._stepped(now_s, rung, self._rate, "the board has room again; a larger model")
        if self._rate > 0:
            reason = f"the board is well again; {RATES[self._rate - 1]:g} of the frame rate"
            return self._stepped(now_s, self._rung, self._rate - 1, reason)
        return None

    def _below(self) -> list[int]:
        """The rungs below, the next one first, without those that were refused."""
        return [n for n in range(self._rung + 1, len(self._rungs)) if self._rungs[n].name not in self._refused]

    def _above(self) -> list[int]:
        """The rungs above, the next one first, without those that were refused."""
        return [n for n in range(self._rung - 1, -1, -1) if self._rungs[n].name not in self._refused]

    def _stepped(self, now_s: float, rung: int, rate: int, reason: str) -> Step:
        is_down = (rung, rate) > (self._rung, self._rate)
        if is_down and now_s - self._raised_s < REGRET_S:
            self._calm_s = min(self._calm_s * 2, LONGEST_CALM_S)
            self._raised_s = float("-inf")
        elif not is_down:
            if now_s - self._stepped_s > REGRET_S:
                self._calm_s = CALM_S
            self._raised_s = now_s
        if rung != self._rung:
            self._before = self._rung, self._rate, self.reason
        self._rung, self._rate = rung, rate
        self._stepped_s = self._calm_since = now_s
        self._slow_since = self._hot_since = None
        self._latencies.clear()
        self.reason = reason if rung or rate else ""
        return Step(self.name, self.rate, reason)
