"""Work in the background of the event loop: a bug in it is told to the loop, and all of it ends with `close`."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

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
        self._why: dict[asyncio.Task[Any], EdgedError] = {}

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

    async def take(self, work: Coroutine[Any, Any, Done], overtakes: EdgedError) -> Done:
        """Do this now. Raises what the work raises, or the EdgedError for which it had to end."""
        self.end(overtakes)
        task = self._task = asyncio.get_running_loop().create_task(work)
        try:
            done: Done = await task
            return done
        except asyncio.CancelledError:
            if (why := self._why.get(task)) is not None:
                raise why from None
            task.cancel()
            raise
        finally:
            self._why.pop(task, None)
