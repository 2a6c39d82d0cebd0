"""What is done again and again."""

import asyncio
from collections.abc import Callable


class Repeated:
    """`work` at once and then every so many seconds. Thread: the event loop's."""

    def __init__(self, every_s: float, work: Callable[[], object]) -> None:
        self._every_s, self._work = every_s, work
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._work()
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self.start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
