"""A JPEG that comes over the pipe in parts: only one that was asked for, and never larger than it may be."""

_MAGIC = b"\xff\xd8\xff"
_SLACK_BYTES = 64 * 1024  # one that can't be made small enough is a little larger than was wanted
_MOST_ASKED = 8


class JpegParts:
    """Thread: the event loop's."""

    def __init__(self) -> None:
        self._whole = bytearray()
        self._most_bytes: list[int] = []

    def ask(self, max_kb: int) -> None:
        """One more is expected; of many that are asked for at once the last few count."""
        self._most_bytes = [*self._most_bytes, max_kb * 1024 + _SLACK_BYTES][-_MOST_ASKED:]

    def forget(self) -> None:
        """Whoever was asked is no more, or may not answer any more."""
        self._whole.clear()
        self._most_bytes.clear()

    def add(self, part: bytes, *, last: bool) -> bytes | None:
        """The whole picture with its last part, else None. Raises ValueError for one that nobody asked for, or that is none."""
        if not self._most_bytes or len(self._whole) + len(part) > max(self._most_bytes):
            self.forget()
            raise ValueError("a picture that nobody asked for, or a larger one")
        self._whole += part
        if not last:
            return None
        whole = bytes(self._whole)
        self._whole.clear()
        self._most_bytes.pop(0)
        if not whole.startswith(_MAGIC):
            raise ValueError("no JPEG")
        return whole
