"""What people and subscribers may ask of the running daemon: over the local socket, over MQTT, and by a signal."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

from edged.delivery.dispatch import Dispatch
from edged.delivery.messages import CommandError, ModelErrorBody
from edged.delivery.rate import TokenBucket
from edged.errors import EdgedError
from edged.models.names import is_path
from edged.process.control import Control
from edged.rollout.changes import Changes
from edged.system.log import LEVELS, set_level
from edged.system.systemd import Notify
from edged.system.tasks import Tasks
from edged.system.text import printable

LARGEST_BYTES = 4096
_ACTIONS = ("pause", "resume", "snapshot")
_COMMANDS_PER_S, _COMMANDS_AT_ONCE = 5.0, 20
_ANSWER_EVERY_S = 1.0
_MOST_ASKED = 80  # bytes of a command that are shown
_CONTROL_TAKES = f'control takes {{"action": A}}, where A is {", ".join(_ACTIONS)}; at most {LARGEST_BYTES} bytes'
_LONGEST_REPLAY_S = 10 * 365 * 86400.0
_QUIET_S = 0.2  # whoever asks a thousand times a second is heard so often
_WISHES = "an installed model's name, auto, @profile or @file"


def to_action(payload: bytes) -> str | None:
    """The action of a `control` message, or None for anything that is not exactly {"action": one of the known}."""
    if len(payload) > LARGEST_BYTES:
        return None
    try:
        command = json.loads(payload.decode("utf-8"), object_pairs_hook=list)  # as pairs: a key that stands there twice is two
    except (ValueError, RecursionError):
        return None
    return next((action for action in _ACTIONS if command == [("action", action)]), None)


def to_wish(payload: bytes) -> str | None:
    """What a `model/set` message asks for, a name, `auto` or `@profile`; None for what can't be one: a path never is."""
    if not 0 < len(payload) <= 200:
        return None
    try:
        text = payload.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    is_file = is_path(text) or text.startswith((".", "~"))
    return text if text and text.isprintable() and not is_file else None


class _Newest:
    """Work on the newest of what is asked, at most a few times a second, however often it is asked."""

    def __init__(self, work: Callable[[str], Coroutine[Any, Any, None]], tasks: Tasks) -> None:
        self._work, self._tasks = work, tasks
        self._next: str | None = None
        self._waiting = False

    def ask(self, what: str) -> None:
        """What was asked before and has not begun is forgotten; what goes on is for the work itself to end."""
        self._next = what
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        what, self._next = self._next, None
        if what is None:
            self._waiting = False
            return
        self._tasks.do(self._work(what))
        asyncio.get_running_loop().call_later(_QUIET_S, self._begin)


class Refusals:
    """Commands over MQTT that are not carried out: all are counted; those that are `add`ed are answered at most once a second.

    Thread: the event loop's.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.count = 0
        self._told_count = 0
        self._told_s = -_ANSWER_EVERY_S
        self._later: asyncio.TimerHandle | None = None

    def add(self, payload: bytes, reason: str) -> None:
        self.count += 1
        self._last = printable(payload[:_MOST_ASKED].decode(errors="replace")), reason
        if self._later is None:
            delay_s = max(0.0, self._told_s + _ANSWER_EVERY_S - time.monotonic())
            self._later = asyncio.get_running_loop().call_later(delay_s, self._tell)

    def _tell(self) -> None:
        self._later, self._told_s = None, time.monotonic()
        asked, reason = self._last
        refused, self._told_count = self.count - self._told_count, self.count
        self._dispatch.answer("control/error", CommandError(asked=asked, reason=reason, refused=refused))


class Requests:
    """Thread: the event loop's. Whatever is not exactly one of the known words changes nothing."""

    def __init__(
        self,
        control: Control,
        dispatch: Dispatch,
        changes: Changes,
        tasks: Tasks,
        notify: Notify,
        refusals: Refusals,
        act: Callable[[str], None],
        status: Callable[[], dict[str, Any]],
        tell_health: Callable[[], None],
    ) -> None:
        """act: pause, resume, snapshot. notify: told around a reload."""
        self._dispatch, self._changes, self._notify = dispatch, changes, notify
        self._act, self._status, self._tell_health = act, status, tell_health
        self._reloads = 0  # that go on
        self._rate = TokenBucket(_COMMANDS_PER_S, burst=_COMMANDS_AT_ONCE)
        self._refusals = refusals
        self._files = _Newest(self._reload_quietly, tasks)
        self._wishes = _Newest(self._wish_quietly, tasks)
        control.on("replay", self._replay)
        control.on("outbox", self._outbox)
        control.on("reload", self._reload)
        control.on("use", self._use)
        control.on("status", self._tell)
        control.on("log", self._log)
        dispatch.on_command("control", self._on_control)
        dispatch.on_command("model/set", self._on_model_set)

    def on_file(self) -> None:
        """The config was written, or a signal says so. Why it is refused, the log and `degraded` say."""
        self._files.ask("")

    async def _reload_quietly(self, _: str) -> None:
        with contextlib.suppress(EdgedError):
            await self._reload()

    async def _reload(self, _request: dict[str, Any] | None = None) -> dict[str, Any]:
        self._reloads += 1
        if self._reloads == 1:
            self._notify.reloading()
        try:
            return await self._changes.reload()
        finally:
            self._reloads -= 1
            if not self._reloads:
                self._notify.ready()
            self._tell_health()

    async def _use(self, request: dict[str, Any]) -> dict[str, Any]:
        wish = request.get("wish")
        if not isinstance(wish, str) or to_wish(wish.encode(errors="replace")) != wish:
            raise EdgedError(f"use needs {_WISHES}; a path has its place in the config, at model.name")
        return await self._changes.wish(wish, "use")

    async def _wish_quietly(self, wish: str) -> None:
        if not await self._changes.wish_quietly(wish, "model/set"):
            self._refusals.count += 1

    async def _tell(self, _request: dict[str, Any]) -> dict[str, Any]:
        return self._status()

    async def _log(self, request: dict[str, Any]) -> dict[str, Any]:
        level = request.get("level")
        if not isinstance(level, str) or level not in LEVELS:
            raise EdgedError(f"log needs level, one of {', '.join(LEVELS)}")
        return {"level": level, "before": set_level(level)}

    async def _replay(self, request: dict[str, Any]) -> dict[str, Any]:
        since_s = request.get("since_s")
        if not isinstance(since_s, int | float) or not 0 <= since_s <= _LONGEST_REPLAY_S:
            raise EdgedError("replay needs since_s, a number of seconds")
        return {"replayed": await self._dispatch.replay(since_s)}

    async def _outbox(self, request: dict[str, Any]) -> dict[str, Any]:
        do, which = request.get("do", ""), request.get("which", "")
        if not isinstance(do, str) or not isinstance(which, str):
            raise EdgedError("outbox needs do and which, both texts")
        return await self._dispatch.letters(do, which)

    def _on_model_set(self, payload: bytes) -> None:
        if not self._may_ask(payload):
            return
        wish = to_wish(payload)
        if wish is None:
            self._refusals.count += 1
            asked, reason = payload[:_MOST_ASKED].decode(errors="replace"), f"model/set takes {_WISHES}, as plain text"
            self._dispatch.answer("model/error", ModelErrorBody(asked=asked, reason=reason))
        else:
            self._wishes.ask(wish)

    def _on_control(self, payload: bytes) -> None:
        if not self._may_ask(payload):
            return
        if (action := to_action(payload)) is not None:
            self._act(action)
        else:
            self._refusals.add(payload, _CONTROL_TAKES)

    def _may_ask(self, payload: bytes) -> bool:
        if self._rate.allows():
            self._rate.spend(1)
            return True
        self._refusals.add(payload, f"more than {_COMMANDS_PER_S:g} commands a second")
        return False
