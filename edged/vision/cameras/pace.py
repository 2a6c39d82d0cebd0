"""Which frames of a camera that films faster than asked are handed out."""


class Pace:
    """At most `fps` a second in the mean; a quarter of a period early is on time, as no camera's rate is quite ours. Pure."""

    def __init__(self, fps: float) -> None:
        self._period_ns = round(1e9 / fps)
        self._due_ns = 0

    def is_due(self, captured_ns: int) -> bool:
        """Asked once for each frame, in order."""
        slack_ns = self._period_ns // 4
        if captured_ns < self._due_ns - slack_ns:
            return False
        self._due_ns = max(self._due_ns, captured_ns - slack_ns) + self._period_ns
        return True
