"""Work in the background of the event loop: a bug in it is told to the loop, and all of it ends with `close`."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from edged.errors import EdgedError

Done = TypeVar("Done")


class Tasks:
    """Thread: the event loop's."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def do(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """An exception in it reaches the loop's exception handler, as one in a callback does."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class Turns:
    """One work at a time, and the newest goes on at once: an older one ends, and whoever waits for it hears why.

    Thread: the event loop's.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._what: object = None
        self._why: WeakKeyDictionary[asyncio.Task[Any], EdgedError] = WeakKeyDictionary()

    @property
    def is_busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def end(self, why: EdgedError) -> None:
        """What goes on ends now; whoever waits for it gets `why`."""
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            self._why[self._task] = why
            self._task.cancel()

    async def until_idle(self) -> None:
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def take(self, what: object, work: Callable[[], Coroutine[Any, Any, Done]], overtakes: EdgedError) -> Done:
        """Do this now; where the same goes on already, wait for it.

        Raises what the work raises, or the EdgedError for which it had to end. What nobody waits for any more goes on.
        """
        task = self._task
        if task is None or task.done() or what != self._what:
            self.end(overtakes)
            task, self._what = asyncio.get_running_loop().create_task(work()), what
            self._task = task
        await asyncio.wait([task])
        if task.cancelled() and (why := self._why.get(task)) is not None:
            raise why
        done: Done = task.result()
        return done


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
