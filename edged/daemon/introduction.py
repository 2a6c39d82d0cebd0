"""Who this is: the retained `info`, and what Home Assistant is told. Looked at once a second; said when something is new."""

import platform
import socket
import sys
from pathlib import Path

import edged
from edged.config.checks import is_loopback
from edged.config.parts import to_rules
from edged.config.profile import FILE, MARK
from edged.config.reading import Settings
from edged.daemon.identity import load_device_id
from edged.delivery.discovery import Discovery
from edged.delivery.dispatch import Dispatch
from edged.delivery.homeassistant import Announced
from edged.delivery.messages import Info
from edged.errors import ModelError
from edged.models.names import is_path
from edged.models.store import Installed, Store
from edged.rollout.apply import Apply
from edged.system.board import load_board


class Introduction:
    """Thread: the event loop's."""

    def __init__(self, dispatch: Dispatch, apply: Apply, state_folder: Path) -> None:
        self._dispatch, self._apply = dispatch, apply
        self._store = Store(state_folder)
        self._discovery = Discovery(dispatch, state_folder)
        self._device_id, self._board, self._os = load_device_id(state_folder), load_board(), _os_name()
        self._seen: tuple[Settings, Installed, float] | None = None
        self._told: Info | None = None

    def look(self) -> None:
        """Must be called about once a second. Cheap while nothing has changed."""
        settings, installed = self._apply.settings, self._apply.active.installed
        seen = (settings, installed, _changed_s(self._store.folder))
        if self._seen is not None and all(one is other or one == other for one, other in zip(seen, self._seen, strict=True)):
            return
        self._seen = seen
        info = self._to_info(settings, installed)
        if info != self._told:
            self._told = info
            self._dispatch.retain("info", info)
        there = settings.homeassistant
        self._discovery.announce(there.discovery_prefix, self._to_announced(settings, info) if there.enabled else None)

    def close(self) -> None:
        self._discovery.close()

    def _to_info(self, settings: Settings, installed: Installed) -> Info:
        board = self._board
        groups = to_rules(settings, installed.card, installed.labels).groups
        allowed = {"control": settings.snapshot.on_control, "event": settings.snapshot.on_event}
        return Info(
            version=edged.__version__,
            device_id=self._device_id,
            device=settings.device,
            name=settings.homeassistant.name or settings.device,
            board=board.name,
            arch=board.arch,
            memory_mb=board.memory_mb,
            os=self._os,
            python=platform.python_version(),
            cameras=[settings.camera.kind],
            labels=list(installed.labels),
            groups={name: list(labels) for name, labels in groups.items()},
            wishes=to_wishes(self._names(), settings),
            snapshots=[on for on, is_allowed in allowed.items() if is_allowed],
            page=to_address(settings),
        )

    def _names(self) -> list[str]:
        try:
            return [one.card.name for one in self._store.held()]
        except ModelError:  # a broken card; whoever asks for the models is told
            return []

    def _to_announced(self, settings: Settings, info: Info) -> Announced:
        return Announced(
            device_id=info.device_id,
            base=f"{settings.mqtt.prefix}/{settings.device}",
            name=info.name,
            board=info.board,
            version=info.version,
            labels=tuple(info.labels),
            groups=tuple(info.groups),
            own=settings.homeassistant.labels,
            wishes=tuple(info.wishes),
            snapshots=tuple(info.snapshots),
            page="" if is_loopback(settings.page.host) else info.page,  # a link for other machines
            ignored=settings.decision.ignore,
        )


def to_address(settings: Settings) -> str:
    """Where a browser finds the page; empty where it is off. Pure but for the board's name."""
    page = settings.page
    if not page.enabled:
        return ""
    host = socket.gethostname() if page.host in ("0.0.0.0", "::") else f"[{page.host}]" if ":" in page.host else page.host
    return f"{'https' if page.tls_cert else 'http'}://{host}:{page.port}/"


def to_wishes(names: list[str], settings: Settings) -> list[str]:
    """What `model/set` takes here: `auto`, models, profiles, and `@file`, which takes a wish back. Pure."""
    named = settings.model.name
    own = [] if is_path(named) or named == "auto" else [named]
    profiles = [f"{MARK}{name}" for name in settings.profile]
    return list(dict.fromkeys(["auto", *names, *own, *profiles, FILE]))


def _changed_s(folder: Path) -> float:
    """When a model was added or removed."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", sys.platform)
    except OSError:
        return sys.platform
