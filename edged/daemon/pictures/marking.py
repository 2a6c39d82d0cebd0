"""What the operator marks for teaching: asked of the vision process, kept in the state folder. Nothing while paused."""

import asyncio
from typing import Any

from edged.daemon.pictures.snapshots import Snapshots
from edged.delivery.publisher import Courier
from edged.errors import EdgedError, UnavailableError
from edged.models.teach.marks import MARK_KB, MARK_PX, Marks
from edged.models.teach.teach import OTHER, check_label
from edged.process.control import Control
from edged.rollout.apply import Apply

ANSWER_S = 5.0
_LIMITS = {"max_px": MARK_PX, "quality": 95, "max_kb": MARK_KB}


class Marking:
    """Thread: the event loop's; the disk is another's. One mark at a time."""

    def __init__(self, control: Control, marks: Marks, snapshots: Snapshots, publisher: Courier, apply: Apply) -> None:
        self._marks, self._snapshots, self._publisher, self._apply = marks, snapshots, publisher, apply
        snapshots.on_mark = self._take
        self._one = asyncio.Lock()
        self._waiting: asyncio.Future[bytes] | None = None
        control.on("mark", self._mark)
        control.on("marks", self._list)
        control.on("forget", self._forget)

    def _take(self, jpeg: bytes) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(jpeg)

    async def _mark(self, request: dict[str, Any]) -> dict[str, Any]:
        label = self._to_label(request.get("label"))
        async with self._one:
            jpeg = await self._ask()
            self._check()  # somebody may have paused meanwhile
            await asyncio.to_thread(self._marks.add, label, jpeg)
            count = next((one.count for one in await asyncio.to_thread(self._marks.all) if one.label == label), 0)
        return {"label": label, "count": count}

    async def _list(self, _request: dict[str, Any]) -> dict[str, Any]:
        kept = await asyncio.to_thread(self._marks.all)
        return {"marks": [{"label": one.label, "count": one.count, "bytes": one.bytes} for one in kept]}

    async def _forget(self, request: dict[str, Any]) -> dict[str, Any]:
        label = request.get("label")
        if label is not None and not isinstance(label, str):
            raise EdgedError("forget needs a label, or null for all of them")
        async with self._one:
            return {"erased": await asyncio.to_thread(self._marks.forget, label)}

    async def _ask(self) -> bytes:
        self._check()
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            if not self._snapshots.ask_mark(_LIMITS):
                raise UnavailableError("the camera's process is being started; mark again in a moment")
            async with asyncio.timeout(ANSWER_S):
                return await self._waiting
        except TimeoutError:
            self._check()  # a picture from before a pause is told to nobody
            why = self._publisher.camera_reason
            raise UnavailableError(f"the camera gives no picture now{f': {why}' if why else ''}") from None
        finally:
            self._waiting = None

    def _check(self) -> None:
        """Raises EdgedError where no picture may be taken."""
        if self._publisher.paused:
            raise EdgedError("edged is paused, so nothing is seen and nothing is kept: resume it first")
        if not self._apply.settings.snapshot.local:
            raise EdgedError("[snapshot] local = false in the config: no picture may be kept")

    @staticmethod
    def _to_label(label: object) -> str:
        if not isinstance(label, str):
            raise EdgedError("mark needs a label: what the camera sees now")
        return label if label == OTHER else check_label(label)
