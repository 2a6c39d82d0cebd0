"""An event loop whose time leaps to the next timer when nothing else is to be done: minutes pass in milliseconds."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class _Leaping(selectors.DefaultSelector):
    """What is readable now comes first; only where nothing is does time pass, and then all of it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        found = super().select(0)
        if found or timeout is None or timeout <= 0:
            return found if found or timeout is not None else super().select(None)
        self.now_s += timeout
        return found


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Nothing in it may wait for a thread or another process: to them no time passes."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now_s


def simulate(play: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it to its end. What a callback raises fails the test."""
    failed: list[BaseException] = []

    async def go() -> None:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: failed.append(context.get("exception") or RuntimeError(str(context)))
        )
        await play()

    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        runner.run(go())
    assert failed == []
