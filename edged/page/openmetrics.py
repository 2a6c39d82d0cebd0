"""What `edged status` says as metrics: OpenMetrics 1.0 for a scraper, or the older text format, which node_exporter reads. Pure.

Names by Prometheus' conventions: base units, `_total` for what only grows. Each sample is of one device.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_UNITS = ("seconds", "bytes", "celsius")

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]  # suffix, labels, value


@dataclass(frozen=True)
class Family:
    """kind: gauge, counter, histogram. name: without `_total`."""

    name: str
    kind: str
    help: str
    samples: list[Sample] = field(default_factory=list)

    def add(self, labels: Labels, value: float | None, suffix: str = "") -> None:
        """None: nothing is known of it, and nothing is said."""
        if value is not None:
            self.samples.append((suffix, labels, float(value)))


def to_openmetrics(*statuses: Mapping[str, Any]) -> str:
    """Of answers to the verb `status`, one for each daemon. Raises LookupError, TypeError or ValueError for what is none."""
    return "".join(f"{line}\n" for line in (*_lines(to_families(statuses), is_open=True), "# EOF"))


def to_text_format(*statuses: Mapping[str, Any]) -> str:
    """The same in Prometheus' text format 0.0.4, for node_exporter's textfile collector, which knows no other."""
    return "".join(f"{line}\n" for line in _lines(to_families(statuses), is_open=False))


def to_families(statuses: Sequence[Mapping[str, Any]]) -> list[Family]:
    """In the order in which they are told. Raises LookupError, TypeError or ValueError for what is no status."""
    found = {name: Family(name, kind, text) for name, kind, text in _FAMILIES}
    for status in statuses:
        _add(found, status)
    return list(found.values())


# name without `_total`, kind, what it is
_FAMILIES = (
    ("edged_build_info", "gauge", "1; version of edged, board and model by their labels."),
    ("edged_uptime_seconds", "gauge", "Since the daemon started."),
    ("edged_board_temperature_celsius", "gauge", "The hottest sensor of the board."),
    ("edged_board_throttled", "gauge", "1 while the board slows itself down or has too little power."),
    ("edged_memory_bytes", "gauge", "Memory of a process of edged."),
    ("edged_camera_up", "gauge", "1 while the camera gives pictures."),
    ("edged_result_age_seconds", "gauge", "Age of the last classification."),
    ("edged_classifications_per_second", "gauge", "Of the last ten seconds."),
    ("edged_frames_captured", "counter", "Frames that the camera gave."),
    ("edged_frames", "counter", "Frames by what became of them; together with those in hand they are the captured ones."),
    ("edged_inference_duration_seconds", "histogram", "From a frame in memory to its scores."),
    ("edged_events", "counter", "Events that were decided."),
    ("edged_events_delivered", "counter", "Events that the broker acknowledged."),
    ("edged_events_dropped", "counter", "Events that were given up, by reason."),
    ("edged_events_queued", "gauge", "Events that wait for the broker."),
    ("edged_event_oldest_waiting_seconds", "gauge", "Age of the oldest event that waits; 0 while none does."),
    ("edged_results_dropped", "counter", "Live results that were not sent, by reason."),
    ("edged_broker_connected", "gauge", "1 while the broker takes messages."),
    ("edged_broker_connections", "counter", "Connections to the broker that were made."),
    ("edged_vision_restarts", "counter", "Starts of the vision process after its first one."),
    ("edged_commands_refused", "counter", "MQTT commands that were not carried out."),
    ("edged_log_lines_dropped", "counter", "Lines of the log that nobody read in time."),
    ("edged_faults", "gauge", "What does not work as it should, by kind."),
)


def _add(found: Mapping[str, Family], status: Mapping[str, Any]) -> None:
    health, own = status["health"], (("device", str(status["device"])),)

    def add(name: str, value: float | None, **labels: str) -> None:
        found[name].add((*own, *labels.items()), value)

    add("edged_build_info", 1, version=str(status["version"]), board=str(status["board"]), model=str(status["model"]))
    add("edged_uptime_seconds", health["uptime_s"])
    add("edged_board_temperature_celsius", health["temperature_c"])
    add("edged_board_throttled", bool(health["throttled"]))
    add("edged_memory_bytes", round(health["memory_mb"] * 1e6), process="courier")
    add("edged_memory_bytes", round(health["vision_memory_mb"] * 1e6), process="vision")
    add("edged_camera_up", status["camera"] == "ok")
    add("edged_result_age_seconds", status["result_age_s"])
    add("edged_classifications_per_second", health["fps"])
    add("edged_frames_captured", health["frames"]["captured"])
    for fate, count in health["frames"].items():
        if fate != "captured":
            add("edged_frames", count, fate=str(fate))
    _add_histogram(found["edged_inference_duration_seconds"], own, status["inference_s"])
    events = health["events"]
    add("edged_events", events["events"])
    add("edged_events_delivered", events["delivered"])
    add("edged_events_queued", events["queued"])
    for reason, count in events["dropped"].items():
        add("edged_events_dropped", count, reason=str(reason))
    for reason, count in health["results_dropped"].items():
        add("edged_results_dropped", count, reason=str(reason))
    add("edged_event_oldest_waiting_seconds", health["waiting_oldest_s"])
    add("edged_broker_connected", bool(status["connected"]))
    add("edged_broker_connections", health["broker_connects"])
    add("edged_vision_restarts", health["vision_restarts"])
    add("edged_commands_refused", health["commands_refused"])
    add("edged_log_lines_dropped", health["log_lines_dropped"])
    kinds = [str(fault["kind"]) for fault in health["faults"]]
    for kind in sorted(set(kinds)):
        add("edged_faults", kinds.count(kind), kind=kind)


def _add_histogram(family: Family, own: Labels, told: Mapping[str, Any]) -> None:
    for bound, count in told["buckets"]:
        family.add((*own, ("le", f"{float(bound):g}")), count, "_bucket")
    family.add((*own, ("le", "+Inf")), told["count"], "_bucket")
    family.add(own, told["sum"], "_sum")
    family.add(own, told["count"], "_count")


def _lines(families: Iterable[Family], *, is_open: bool) -> Iterator[str]:
    for family in families:
        if not family.samples:
            continue
        total = "_total" if family.kind == "counter" else ""
        name = family.name if is_open else f"{family.name}{total}"
        yield f"# HELP {name} {family.help}"
        yield f"# TYPE {name} {family.kind}"
        if is_open and (unit := next((unit for unit in _UNITS if family.name.endswith(f"_{unit}")), "")):
            yield f"# UNIT {name} {unit}"
        for suffix, labels, value in family.samples:
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
            yield f"{family.name}{total}{suffix}{{{shown}}} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
