"""Fit: the store's models, this board and a budget → the choice, with every measurement remembered."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edged.errors import ModelError
from edged.models.admission import Admission, Scene
from edged.models.fit.choice import Budget, Candidate, Choice, choose
from edged.models.measurements import Measured
from edged.models.recast import is_candidate
from edged.models.store import Installed, Store

MEASURE_S = 2.5  # of inferences per model, if one takes less than a tenth of that; at least 20 are run


class NotMeasuredError(Exception):
    """A choice from memory alone was wanted, and something is not in it."""


@dataclass(frozen=True)
class Fit:
    """A choice and what it stands on."""

    choice: Choice
    board: str
    seconds: float
    chosen: Installed | None

    def to_json(self) -> dict[str, Any]:
        """The object that `edged fit --json` prints."""
        choice = self.choice
        return {
            "board": self.board,
            "budget": choice.budget.to_dict(),
            "chosen": choice.chosen.name if choice.chosen else None,
            "candidates": [_row(candidate) for candidate in choice.candidates],
            "measured": len(choice.order),
            "seconds": round(self.seconds, 1),
            "nearest": choice.nearest,
        }


class Fitting:
    """One family of one store on this board."""

    def __init__(self, store: Store, admission: Admission, scene: Scene, threads: Sequence[int]) -> None:
        """threads: those that may be used; the best of them is measured."""
        self._store, self._admission, self._scene, self._threads = store, admission, scene, threads

    def fit(self, family: str, budget: Budget, on_measure: Callable[[str], None] = lambda _: None, *, again: bool = False) -> Fit:
        """Measures what is not remembered: seconds to a minute. Raises ModelError when the family has no usable member."""

        def measure(candidate: Candidate, installed: Installed) -> Measured:
            on_measure(candidate.name)
            limit_ms = budget.limit_ms
            return self._admission.measure_both(installed, self._scene, self._threads, MEASURE_S, again=again, limit_ms=limit_ms)

        def recall(one: Installed) -> Measured | None:
            if again or not self._admission.is_measured(one, self._scene, self._threads):
                return None
            return self._admission.recall_both(one, self._scene, self._threads)

        fit = self._fit(family, budget, measure, recall)
        self._admission.remember(self._key(family, budget), fit.choice.chosen.name if fit.choice.chosen else "")
        return fit

    def recall(self, family: str, budget: Budget) -> Fit:
        """The same choice from what was measured before. Raises NotMeasuredError when that does not suffice."""

        def measure(candidate: Candidate, installed: Installed) -> Measured:
            verdict = self._admission.recall_verdict(installed)
            if verdict is not None and not verdict.admitted:
                raise ModelError(f"model {candidate.name} is refused: {verdict.reason}")
            if is_done:
                raise ModelError("not measured")
            raise NotMeasuredError(candidate.name)

        is_done = self._admission.ledger.has_fit(self._key(family, budget))
        return self._fit(family, budget, measure, lambda one: self._admission.recall_both(one, self._scene, self._threads))

    def _key(self, family: str, budget: Budget) -> str:
        """What a fit depends on: with any of it changed, more may have to be measured."""
        found = [one for _, one in self.load_candidates(family)]
        members = " ".join(sorted(one.sha256[:16] for one in found))
        if self._admission.recast and any(is_candidate(one) for one in found):
            members += " and int8 siblings"
        limits = " ".join(f"{name}={limit:g}" for name, limit in budget.to_dict().items())
        return f"{self._admission.measurement_key_of(members, self._scene, self._threads)} | {family} | {limits}"

    def load_candidates(self, family: str) -> list[tuple[Candidate, Installed]]:
        """The family's models that are sound, nothing measured. Raises ModelError when there is none."""
        found, faults = [], []
        for held in self._store.held():
            if held.card.family != family:
                continue
            try:
                one = self._store.open(held)
                macs = self._store.graph_of(held).macs
            except ModelError as fault:
                faults.append(str(fault))
                continue
            candidate = Candidate(held.card.name, held.card.top1, macs, held.card.dtype, one.size_mb, named=held.card.named)
            found.append((candidate, one))
        if not found:
            cure = "run 'edged models add' or 'edged models pull'"
            raise ModelError("; ".join(faults) or f'no model of the family "{family}" is installed: {cure}')
        return found

    def _fit(
        self,
        family: str,
        budget: Budget,
        measure: Callable[[Candidate, Installed], Measured],
        recall: Callable[[Installed], Measured | None],
    ) -> Fit:
        began = time.monotonic()
        found = self.load_candidates(family)
        installed = {candidate.name: one for candidate, one in found}
        for candidate, one in found:
            candidate.measured = recall(one)
        choice = choose(
            [candidate for candidate, _ in found], budget, lambda candidate: measure(candidate, installed[candidate.name])
        )
        for candidate, one in found:
            candidate.recast = candidate.measured is not None and self._to_run(one) is not one
        chosen = self._to_run(installed[choice.chosen.name]) if choice.chosen else None
        return Fit(choice, self._admission.board.key, time.monotonic() - began, chosen)

    def _to_run(self, one: Installed) -> Installed:
        return self._admission.to_run(one, self._scene, self._threads)


def _row(candidate: Candidate) -> dict[str, Any]:
    measured = candidate.measured
    return {
        "name": candidate.name,
        "top1": candidate.top1,
        "predicted_ms": candidate.predicted_ms,
        "p50_ms": measured.p50_ms if measured else None,
        "p95_ms": measured.p95_ms if measured else None,
        "memory_mb": measured.memory_mb if measured else None,
        "recast": candidate.recast,
        "size_mb": candidate.size_mb,
        "threads": measured.threads if measured else None,
        "fits": candidate.fits,
        "why_not": candidate.why_not,
    }


def to_threads(configured: int, cores: int) -> list[int]:
    """Which numbers of threads are tried: the configured one, else 1 to all cores, at most 4. Pure."""
    return [configured] if configured else list(range(1, min(4, max(1, cores)) + 1))
