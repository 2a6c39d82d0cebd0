"""Home Assistant's discovery message on its way: never two within seconds, and what it once announced is taken back by name."""

import asyncio
import logging
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from edged.delivery.announced import FILE, Known, load_known, save_known
from edged.delivery.dispatch import Dispatch
from edged.delivery.homeassistant import Announced, to_bytes, to_discovery, to_platforms, to_topic
from edged.errors import ReadError, WriteError

log = logging.getLogger("edged")

QUIET_S = 5.0  # a second message while it still sets up the first one would be lost there in part
_MOST_GONE = 200


class Discovery:
    """Thread: the event loop's. What was announced is remembered over restarts, for Home Assistant remembers it too."""

    def __init__(self, dispatch: Dispatch, state_folder: Path, *, quiet_s: float = QUIET_S) -> None:
        self._dispatch, self._file, self._quiet_s = dispatch, state_folder / FILE, quiet_s
        self._known = _load(self._file)
        self._wanted: tuple[str, Announced] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_first = True

    def announce(self, discovery_prefix: str, what: Announced | None) -> None:
        """From now on this is to be seen there; None: nothing of us. Sent when nothing else has changed for some seconds."""
        wanted = None if what is None else (to_topic(discovery_prefix, what.device_id), what)
        if wanted != self._wanted or self._is_first:
            self._wanted, self._is_first = wanted, False
            self._go_on_later()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _go_on_later(self) -> None:
        self.close()
        self._timer = asyncio.get_running_loop().call_later(self._quiet_s, self._go_on)

    def _go_on(self) -> None:
        """First the topics that are ours no more, and only when the broker has taken that, the message."""
        topic = self._wanted[0] if self._wanted is not None else ""
        if old := [one for one in self._known if one != topic]:
            for one in old:
                self._dispatch.take_back(f"/{one}", partial(self._taken_back, one))
        elif self._wanted is not None:
            gone = dict(list(self._known.get(topic, {}).items())[-_MOST_GONE:])
            message = to_discovery(self._wanted[1], gone)
            self._known[topic] = to_platforms(message)
            self._save()
            self._dispatch.retain(f"/{topic}", to_bytes(message).decode())

    def _taken_back(self, topic: str) -> None:
        self._known.pop(topic, None)
        self._save()
        self._go_on_later()

    def _save(self) -> None:
        try:
            save_known(self._file, self._known)
        except WriteError as error:
            log.warning("%s; entities that are removed later may stay in Home Assistant", error)


def _load(file: Path) -> Known:
    try:
        return load_known(file)
    except (ReadError, ValidationError):
        return {}
