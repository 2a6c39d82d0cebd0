"""Settings → what each part is given. Pure: parts get values and never the settings."""

import os
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from edged.config.checks import is_loopback
from edged.config.faults import Fault, to_fault
from edged.config.reading import Settings
from edged.config.settings import BudgetSection, MqttSection
from edged.decision import Rules, Thresholds, to_thresholds, to_watched
from edged.delivery.broker.access import Access
from edged.models.admission import Scene
from edged.models.background import Wanted
from edged.models.card import Card
from edged.models.fit.choice import Budget
from edged.models.fit.fit import to_threads
from edged.system.figures import spare_memory_mb
from edged.system.shapes import WHOLE

_OPENED_WITH = {
    "kind",
    "source",
    "user",
    "password_file",
    "fps",
    "loop",
    "width_px",
    "height_px",
    "rotation",
    "exposure_max_ms",
    "buffers",
}


_SHOWN_S = 2.0


def to_rules(settings: Settings, card: Card, labels: tuple[str, ...]) -> Rules:
    """The thresholds that hold with this model; of the groups only those that it can see something of."""
    decision = settings.decision
    groups = {name: members for name, members in decision.groups.items() if set(members) & set(labels)}
    enter, leave, margin = to_thresholds(
        Thresholds(decision.enter, decision.leave, decision.margin), Thresholds(card.enter, card.leave, card.margin)
    )
    return Rules(
        enter=enter,
        leave=leave,
        margin=margin,
        k=decision.k,
        n=decision.n,
        hold_s=decision.hold_s,
        ignore=frozenset(decision.ignore),
        groups=groups,
    )


def to_budget_fault(given: dict[str, float]) -> Fault | None:
    """What is wrong with limits that a person gives in place of the file's, each for itself."""
    try:
        BudgetSection.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return to_fault({**first, "loc": ("budget", *first["loc"])}, Settings)
    return None


def to_budget(settings: Settings, free_mb: float) -> Budget:
    """What is set; of what is not, `auto` takes half a frame's time, and what leaves memory for others: each for itself.

    free_mb: what may be taken without harm; infinite where there is plenty. A model that was named is the operator's choice.
    """
    budget = Budget(**settings.budget.model_dump())
    if settings.model.name != "auto":
        return budget
    if budget.latency_ms is None:
        budget = replace(budget, latency_ms=round(500 / settings.camera.fps, 2))
    if budget.memory_mb is None and free_mb < float("inf"):
        budget = replace(budget, memory_mb=free_mb)
    return budget


def to_wanted(settings: Settings) -> Wanted:
    """What the settings say about models."""
    camera, model = settings.camera, settings.model
    return Wanted(
        state_folder=settings.state_folder,
        name=model.name,
        labels=model.labels,
        family=model.family,
        threads=tuple(to_threads(model.threads, len(os.sched_getaffinity(0)))),
        budget=to_budget(settings, spare_memory_mb()),
        # all of the picture costs the most: another region is no reason to measure again
        scene=Scene.of_camera(camera.kind, camera.width_px, camera.height_px, WHOLE, camera.crop),
        recast=model.recast,
    )


def to_camera(settings: Settings) -> dict[str, Any]:
    """What of the settings a vision process is configured with."""
    camera, gate = settings.camera, settings.gate
    shown = {"show_s": to_show_s(settings)} if camera.kind == "pictures" else {}
    return {
        "camera": camera.model_dump(include=_OPENED_WITH) | shown,
        "region": list(camera.region),
        "crop": camera.crop,
        "max_age_ms": camera.max_age_ms,
        "no_frame_s": camera.no_frame_s,
        "frozen_s": camera.frozen_s,
        "pictures": [why for why in ("on_control", "on_event", "local") if getattr(settings.snapshot, why)],
        "gate": gate.model_dump(include={"threshold", "max_interval_s"}) if gate.enabled else None,
    }


def to_configure(
    settings: Settings, card: Card, labels: tuple[str, ...], *, failed_runs: int = 0, paused: bool = False
) -> dict[str, Any]:
    """The whole of what a new vision process is configured with. failed_runs: of those before it that gave no frame."""
    configured = to_camera(settings)
    configured["camera"]["px"] = card.px  # for a camera that may choose its size
    watched = to_watched(to_rules(settings, card, labels).groups, labels)
    return configured | {"watched": watched, "failed_runs": failed_runs, "paused": paused}


def to_show_s(settings: Settings) -> float:
    """Seconds for which each photograph of a folder is shown: as a thing that stays in view, so that a decision can be made."""
    if settings.camera.show_s is not None:
        return settings.camera.show_s
    return max(_SHOWN_S, (settings.decision.n + 1) / settings.camera.fps)


def to_tuning(old: Settings, new: Settings) -> dict[str, Any] | None:
    """What a running vision process is told of another [camera] or [gate]; None where it takes a new process."""
    before, after = to_camera(old), to_camera(new)
    live = {"region", "max_age_ms", "gate", "pictures"}
    for settings in (before, after):
        settings["camera"].pop("fps")
        if new.camera.show_s is None and old.camera.show_s is None:  # it only follows from fps and n
            settings["camera"].pop("show_s", None)
    if any(before[key] != after[key] for key in before.keys() - live):
        return None
    return {"fps": new.camera.fps} | {key: after[key] for key in live}


def to_access(mqtt: MqttSection, device: str) -> Access:
    """What the section [mqtt] of a config says about the way to the broker."""
    return Access(
        host=mqtt.host,
        port=mqtt.port,
        version=mqtt.version,
        client_id=mqtt.client_id or f"edged-{device}",
        user=mqtt.user,
        password_file=mqtt.password_file,
        allow_plain_password=mqtt.allow_plain_password,
        tls=mqtt.tls,
        tls_ca=mqtt.tls_ca,
        tls_cert=mqtt.tls_cert,
        tls_key=mqtt.tls_key,
        keepalive_s=mqtt.keepalive_s,
        max_packet_bytes=mqtt.max_packet_bytes,
    )


def to_access_of(settings: Settings) -> tuple[str, str, Access]:
    """device, prefix, and how the broker is reached: what a connection is made with."""
    return settings.device, settings.mqtt.prefix, to_access(settings.mqtt, settings.device)


def shows_picture(settings: Settings) -> bool:
    """Whether the page may: on this board alone, or where the operator says so."""
    return settings.snapshot.local and (is_loopback(settings.page.host) or settings.page.picture)


def to_jpeg_limits(settings: Settings) -> dict[str, Any]:
    """How large a snapshot may be."""
    return settings.snapshot.model_dump(include={"max_px", "quality", "max_kb"})
