"""Pictures: asked of the vision process, taken from it in parts, and handed on whole."""

from collections.abc import Callable
from typing import Any

from edged.delivery.dispatch import Dispatch
from edged.delivery.publisher import Courier
from edged.process.jpeg import JpegParts
from edged.process.supervisor import Supervision
from edged.system.shapes import WHOLE

_MARK = 2**50  # the number of a picture that is marked; those who look count from 1


class Snapshots:
    """Thread: the event loop's."""

    def __init__(self, vision: Supervision, publisher: Courier, dispatch: Dispatch) -> None:
        self._vision, self._publisher, self._dispatch = vision, publisher, dispatch
        self._jpeg = JpegParts()
        self.on_mark: Callable[[bytes], None] = lambda _: None
        self.on_view: Callable[[int, bytes, int, list[float]], None] = lambda *_: None  # number, JPEG, captured_ns, what it shows

    def ask(self, limits: dict[str, Any], why: str, event_ns: int = 0) -> None:
        """why: `on_control` or `on_event`; the vision process knows which of them the config allows. event_ns: when it happened."""
        if self._vision.send("snapshot", limits | {"why": why, "event_ns": event_ns}):
            self._jpeg.ask(limits["max_kb"])

    def ask_view(self, limits: dict[str, Any], number: int, view: str) -> bool:
        """For somebody on this board; `on_view` gets it. False where nobody can be asked."""
        if not self._vision.send("snapshot", limits | {"why": "local", "number": number, "view": view}):
            return False
        self._jpeg.ask(limits["max_kb"])
        return True

    def ask_mark(self, limits: dict[str, Any]) -> bool:
        """What the model sees, for teaching; `on_mark` gets it. False where nobody can be asked."""
        return self.ask_view(limits, _MARK, "mark")

    def forget(self) -> None:
        """Whoever was asked is no more."""
        self._jpeg.forget()

    def take_part(
        self,
        part: bytes,
        last: bool,
        index: int = 0,
        captured_ns: int = 0,
        event_ns: int = 0,
        number: int = 0,
        shows: list[float] | None = None,
    ) -> None:
        """Part of a JPEG, as it came over the pipe. What nobody asked for is not believed, and nobody's word any more.

        number: of whoever asked on this board; 0: for subscribers.
        """
        try:
            whole = self._jpeg.add(part, last=last)
        except ValueError as error:
            self._vision.distrust(f"it sent {error}")
            return
        if whole is None or not self._publisher.may_tell(captured_ns):
            return
        if number == _MARK:
            self.on_mark(whole)
        elif number:
            self.on_view(number, whole, captured_ns, shows or list(WHOLE))
        else:
            self._dispatch.picture("snapshot", whole, captured_ns=captured_ns, frame=index, event_ns=event_ns)
