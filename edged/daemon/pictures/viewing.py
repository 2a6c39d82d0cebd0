"""What a page needs of the daemon, over the control socket: watch, the last hour, the models, pause, keys beside the file."""

import asyncio
import time
from typing import Any

from edged.config.parts import to_budget, to_rules, to_wanted
from edged.config.settings import Settings
from edged.config.tuning import to_toml
from edged.daemon.link import Link
from edged.daemon.pictures.snapshots import Snapshots
from edged.decision import Rules
from edged.delivery.dispatch import Dispatch
from edged.delivery.publisher import Courier
from edged.delivery.watching import Watching
from edged.errors import EdgedError
from edged.models.admission import Admission
from edged.models.fit.fit import Fitting
from edged.models.fit.table import load_table
from edged.models.store import Store
from edged.process.control import Control
from edged.rollout.apply import Apply
from edged.rollout.changes import Changes
from edged.system.clock import Clock
from edged.system.figures import spare_memory_mb
from edged.system.heat import Heat
from edged.system.hour import Hour, HourRow

_TOLD = 3  # scores
_MOST_KEYS = 20
_ACTIONS = ("pause", "resume", "snapshot")


class Viewing:
    """Thread: the event loop's."""

    def __init__(
        self,
        control: Control,
        dispatch: Dispatch,
        publisher: Courier,
        link: Link,
        snapshots: Snapshots,
        apply: Apply,
        changes: Changes,
        clock: Clock,
    ) -> None:
        self._publisher, self._link, self._apply, self._changes = publisher, link, apply, changes
        self._hour, self._began_s, self._looks, self._doing = Hour(), time.monotonic(), 0, ""
        self._watching = Watching(link.ask_view, link.ask_try, self._seen, dispatch.retained_values, clock.to_wall)
        dispatch.on_said = self._watching.on_said
        snapshots.on_view = self._watching.on_picture
        link.on_tried = self._watching.on_tried
        control.on_stream("watch", self._watching.stream)
        control.on("hour", self._tell_hour)
        control.on("act", self._act)
        control.on("tune", self._tune)
        control.on("models", self._tell_models)
        self._table = asyncio.Lock()

    def each_second(self, heat: Heat) -> None:
        """A row of the hour, while somebody may look at it; and what goes on, where that is something new."""
        if (doing := self._changes.doing) != self._doing:
            self._doing = doing
            self._watching.on_doing(doing)
        publisher = self._publisher
        looks, self._looks = publisher.looks - self._looks, publisher.looks
        if not self._apply.settings.page.enabled:
            if self._hour.size_bytes:
                self._hour.forget()
            return
        row = HourRow(
            second=int(time.monotonic() - self._began_s),
            looks=looks,
            state=publisher.camera_state,
            scores=publisher.scores if looks else {},
            said=publisher.decided().label,
            latency_ms=publisher.latency_ms[-1] if looks and publisher.latency_ms else None,
            temperature_c=heat.temperature_c,
        )
        self._hour.add(row)

    def _seen(self) -> dict[str, Any]:
        """What is decided now, and of which scores."""
        decided = self._publisher.decided()
        best = sorted(self._publisher.scores.items(), key=lambda one: -one[1])[:_TOLD]
        lead = best[0][1] - (best[1][1] if len(best) > 1 else 0.0) if best else 0.0
        rules = self._publisher.rules
        region = list(self._apply.settings.camera.region)
        thresholds = {"enter": rules.enter, "leave": rules.leave, "margin": rules.margin}
        return {"label": decided.label, "top": best, "lead": round(lead, 4), "rules": thresholds, "region": region}

    async def _tell_hour(self, request: dict[str, Any]) -> dict[str, Any]:
        since = request.get("since", -1)
        if not isinstance(since, int):
            raise EdgedError("hour takes since, a whole number of seconds")
        would = {}
        if tried := _to_keys(request.get("tried", {}), "hour takes tried"):  # as `tune` would
            settings, installed = self._apply.intent.tried(tried), self._apply.active.installed
            would = {"would": _to_told(to_rules(settings, installed.card, installed.labels))}
        now = {"now": int(time.monotonic() - self._began_s), "kept": self._apply.settings.page.enabled}
        return self._hour.to_dict(since) | now | {"rules": _to_told(self._publisher.rules)} | would

    async def _act(self, request: dict[str, Any]) -> dict[str, Any]:
        action = request.get("action")
        if action not in _ACTIONS:
            raise EdgedError(f"act takes action, one of {', '.join(_ACTIONS)}")
        if action == "snapshot" and not self._apply.settings.snapshot.on_control:
            raise EdgedError("no picture is sent over MQTT: snapshot.on_control is false")
        self._link.act(str(action))
        return {"paused": self._publisher.paused}

    async def _tune(self, request: dict[str, Any]) -> dict[str, Any]:
        values = _to_keys(request.get("values"), "tune takes values")
        done = await self._changes.tune(values, "page") if values else {}
        intent = self._apply.intent
        tuned = intent.tuned.holding(intent.file)
        return done | {"tuned": tuned, "toml": to_toml(tuned)}

    async def _tell_models(self, _request: dict[str, Any]) -> dict[str, Any]:
        async with self._table:  # one look at the files at a time
            return await asyncio.to_thread(_load_models, self._apply.settings)


def _to_keys(keys: Any, what: str) -> dict[str, Any]:
    """Raises EdgedError for what is no object, or too large a one."""
    if not isinstance(keys, dict) or len(keys) > _MOST_KEYS:
        raise EdgedError(f"{what}: dotted keys and what they are to be, null for what the file says")
    return keys


def _to_told(rules: Rules) -> dict[str, Any]:
    told = {"k": rules.k, "n": rules.n, "hold_s": rules.hold_s, "ignore": sorted(rules.ignore)}
    return told | {"enter": rules.enter, "leave": rules.leave, "margin": rules.margin}


def _load_models(settings: Settings) -> dict[str, Any]:
    """As for `auto`, whatever is named now."""
    as_auto = settings.model_copy(update={"model": settings.model.model_copy(update={"name": "auto"})})
    wanted, store = to_wanted(as_auto), Store(settings.state_folder)
    fitting = Fitting(store, Admission(settings.state_folder), wanted.scene, wanted.threads)
    return load_table(store, fitting, wanted.family, to_budget(as_auto, spare_memory_mb()))
