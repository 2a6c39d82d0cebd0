"""What proves that the daemon works: every part has said by when it will give its next sign. Pure; the time is handed in."""

GRACE_S = 5.0


class Progress:
    """Who is late, and for how long that was watched.

    Being late for a moment proves nothing: a machine that stood still makes every part late at once. So lateness counts
    from the first look that saw it, and only when later looks saw it too.
    """

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}
        self._late_since_s: dict[str, float] = {}

    def expect(self, part: str, by_s: float | None) -> None:
        """The next sign of `part` comes by then; None: nothing is expected of it."""
        if by_s is None:
            self._due_s.pop(part, None)
        else:
            self._due_s[part] = by_s

    def stuck(self, now_s: float) -> str:
        """The part that is late for longer than the grace, in words; "" when there is none. Call it about every second."""
        self._late_since_s = {part: self._late_since_s.get(part, now_s) for part, due_s in self._due_s.items() if now_s > due_s}
        for part, since_s in self._late_since_s.items():
            if now_s - since_s >= GRACE_S:
                return f"{part} gives no sign of life for {now_s - self._due_s[part]:.0f} s longer than it may take"
        return ""
