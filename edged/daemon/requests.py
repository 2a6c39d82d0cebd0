"""What people and subscribers may ask of the running daemon: over the local socket, over MQTT, and by a signal."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import ModelErrorBody
from edged.errors import EdgedError
from edged.process.control import Control
from edged.rollout.apply import Following

LARGEST_BYTES = 4096
_ACTIONS = ("pause", "resume", "snapshot")
_LONGEST_REPLAY_S = 10 * 365 * 86400.0
_WISHES = "an installed model's name, auto, @profile or @file"


def to_action(payload: bytes) -> str | None:
    """The action of a `control` message, or None for anything that is not exactly {"action": one of the known}."""
    if len(payload) > LARGEST_BYTES:
        return None
    try:
        command = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(command, dict) or set(command) != {"action"} or command["action"] not in _ACTIONS:
        return None
    return str(command["action"])


def to_wish(payload: bytes) -> str | None:
    """What a `model/set` message asks for, a name, `auto` or `@profile`; None for what can't be one: a path never is."""
    if not 0 < len(payload) <= 200:
        return None
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    is_path = "/" in text or text.endswith(".tflite") or text.startswith((".", "~"))
    return text if text and text.isprintable() and not is_path else None


class _OneAtATime:
    """Work on the newest of what is asked: whoever asks a thousand times a second is heard once at a time."""

    def __init__(self, work: Callable[[str], Coroutine[Any, Any, None]], do: Callable[[Coroutine[Any, Any, Any]], None]) -> None:
        self._work, self._do = work, do
        self._next: str | None = None
        self._busy = False

    def ask(self, what: str) -> None:
        self._next = what
        if not self._busy:
            self._busy = True
            self._do(self._go_on())

    async def _go_on(self) -> None:
        while (what := self._next) is not None:
            self._next = None
            await self._work(what)
        self._busy = False


class Requests:
    """Thread: the event loop's. Whatever is not exactly one of the known words changes nothing."""

    def __init__(
        self,
        control: Control,
        dispatch: Dispatch,
        following: Following,
        *,
        do: Callable[[Coroutine[Any, Any, Any]], None],
        act: Callable[[str], None],
        status: Callable[[], dict[str, Any]],
        around_reload: Callable[[bool], None],
    ) -> None:
        """do: in the background. act: pause, resume, snapshot. around_reload: True before a reload, False after it."""
        self._control, self._dispatch, self._following = control, dispatch, following
        self._do, self._act, self._status, self._around_reload = do, act, status, around_reload
        self._files = _OneAtATime(self._reload_quietly, do)
        self._wishes = _OneAtATime(lambda wish: following.wish_quietly(wish, "model/set"), do)

    def open(self) -> None:
        self._control.on("replay", self._replay)
        self._control.on("reload", self._reload)
        self._control.on("use", self._use)
        self._control.on("status", self._tell)
        self._dispatch.on_command("control", self._on_control)
        self._dispatch.on_command("model/set", self._on_model_set)
        self._do(self._control.start())

    async def close(self) -> None:
        await self._control.close()

    def on_file(self) -> None:
        """The config was written, or a signal says so. Why it is refused, the log and `degraded` say."""
        self._files.ask("")

    async def _reload_quietly(self, _: str) -> None:
        try:
            await self._reload()
        except EdgedError:
            return

    async def _reload(self, _request: dict[str, Any] | None = None) -> dict[str, Any]:
        self._around_reload(True)
        try:
            return await self._following.reload()
        finally:
            self._around_reload(False)

    async def _use(self, request: dict[str, Any]) -> dict[str, Any]:
        wish = request.get("wish")
        if not isinstance(wish, str) or to_wish(wish.encode(errors="replace")) != wish:
            raise EdgedError(f"use needs {_WISHES}; a path has its place in the config, at model.name")
        return await self._following.wish(wish, "use")

    async def _tell(self, _request: dict[str, Any]) -> dict[str, Any]:
        return self._status()

    async def _replay(self, request: dict[str, Any]) -> dict[str, Any]:
        since_s = request.get("since_s")
        if not isinstance(since_s, int | float) or not 0 <= since_s <= _LONGEST_REPLAY_S:
            raise EdgedError("replay needs since_s, a number of seconds")
        return {"replayed": await self._dispatch.replay(since_s)}

    def _on_model_set(self, payload: bytes) -> None:
        wish = to_wish(payload)
        if wish is None:
            asked, reason = payload[:80].decode(errors="replace"), f"model/set takes {_WISHES}, as plain text"
            self._dispatch.live("model/error", ModelErrorBody(asked=asked, reason=reason))
        else:
            self._wishes.ask(wish)

    def _on_control(self, payload: bytes) -> None:
        if (action := to_action(payload)) is not None:
            self._act(action)
