"""Whether a model keeps its promise on real frames. Pure: it is told latencies, and says when it has seen enough."""

GOOD, BAD = 5, 5  # so many frames within the budget before so many above it; one that was interrupted proves nothing


class Proof:
    """One trial of one model. Thread: any one."""

    def __init__(self, limit_ms: float) -> None:
        """limit_ms: for one inference with its preprocessing; may be infinite."""
        self._limit_ms = limit_ms
        self._good, self._bad = 0, list[float]()

    @property
    def proven(self) -> bool:
        return self._good >= GOOD

    @property
    def fault(self) -> str:
        """Why it failed; empty as long as it has not."""
        if self.proven or len(self._bad) < BAD:
            return ""
        return f"latency {sorted(self._bad)[len(self._bad) // 2]:.0f} ms of {self._limit_ms:g} ms"

    def see(self, latency_ms: float) -> None:
        """One frame. What comes after the verdict changes nothing."""
        if self.proven or self.fault:
            return
        if latency_ms <= self._limit_ms:
            self._good += 1
        else:
            self._bad.append(latency_ms)
