"""The public contract, version 1: topics, and the JSON that travels on them. The schemas in docs/schemas come from here.

A body says what happened; a stamp says which message it is and when it was made. The stamp of a durable message is
given inside the outbox's transaction, so that its sequence has no gaps.
"""

import json
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, create_model

from edged.faults import kinds

SCHEMA: Literal["edged/1"] = "edged/1"

Unit = float  # 0..1

# Words that a field may say. They stand in the schemas; more of them may come within edged/1.
CAMERA_FAULTS = (
    "absent",
    "busy",
    "dark",
    "ended",
    "format",
    "frozen",
    "hang",
    "permission",
    "process",
    "read_error",
    "safe_mode",
    "unplugged",
)
GAP_REASONS = ("damaged", "discarded", "expired", "lost", "memory", "oldest", "power", "refused")


def _words(*known: str) -> dict[str, JsonValue]:
    return {"enum": list(known)}


_FAULT: dict[str, JsonValue] = {
    "type": "object",
    "properties": {"kind": {"type": "string", "enum": list(kinds())}, "since": {"type": "string"}},
    "required": ["kind", "since"],
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]},
}


class Body(BaseModel):
    # what has a default is sent all the same
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class Stamp(BaseModel):
    """Identity and time of a message; the same in every JSON payload."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", frozen=True, populate_by_name=True, json_schema_serialization_defaults_required=True
    )

    schema_: Literal["edged/1"] = Field(SCHEMA, alias="schema")
    id: str = Field(description="`<boot>-<seq>`; for gap and late events the id they were given first")
    boot: str = Field(pattern="^[0-9a-f]{8}$", description="random, new at every start of the courier")
    seq: int = Field(ge=1, description="gap-free by boot: one count for event, backlog and gap; one for each other topic")
    time: str = Field(description="UTC, RFC 3339, milliseconds; when it happened, not when it was sent")
    clock_synced: bool = Field(description="false: the wall clock was not yet set by anybody, and `time` may be years off")


class CameraState(Body):
    state: Literal["starting", "ok", "lost", "frozen", "paused"]
    since: str = Field(description="when this state began")
    reason: str = Field("", description="a sentence when the state is not ok")
    fault: str = Field(
        "", description="one constant word; empty when nothing is wrong", json_schema_extra=_words("", *CAMERA_FAULTS)
    )


class State(Body):
    label: str = Field(description="one of the running model's, `none` or `unknown`")
    score: Unit = Field(
        description="0..1, of the last classification: of this label; with `none` of what is ignored; with `unknown` the best"
    )
    groups: dict[str, bool] = Field(default_factory=dict, description="by name: whether one of its labels is seen")
    paused: bool = False
    valid_until: str = Field(description="not to be believed after it; without a right clock: 15 s after it was received")


class Seen(Body):
    index: int = Field(description="counts the frames of one vision process; those that were not classified leave gaps")
    age_ms: float = Field(description="from exposure to publish")
    width: int = Field(description="of the camera's picture, px")
    height: int = Field(description="px")
    picture: str = Field("", description="the file's name, for cameras that show files")


class Score(Body):
    label: str
    index: int = Field(description="of the label in the model's list")
    score: Unit = Field(description="0..1, as the model said it, before any decision")


class Timing(Body):
    """Milliseconds of each step."""

    capture: float = Field(description="from exposure until the frame was taken up")
    preprocess: float
    invoke: float
    postprocess: float


class Result(Body):
    frame: Seen
    model: str = Field(description="name of the model that looked")
    top: list[Score] = Field(description="the five best, best first")
    timing_ms: Timing


class Event(Body):
    event_type: Literal["entered", "left"]
    label: str = Field(description="one of the model's, `none` or `unknown`")
    score: Unit = Field(description="0..1, of this label: entered: when it was entered; left: the last one that it had")
    since: str = Field(description="when the label was entered")
    duration_s: float = Field(ge=0, description="0 for entered")
    reason: str = Field(description="a sentence part for people: which rule decided")
    model: str = Field(description="name of the model that looked")


class LateEvent(Event):
    late: Literal[True] = True


class Gap(Body):
    event_type: Literal["gap"] = "gap"
    from_seq: int
    to_seq: int | None = Field(description="null: what came last before a power cut may be missing, and nobody can know")
    dropped: int | None = Field(description="events between from_seq and to_seq that are lost for this reason; null with to_seq")
    reason: str = Field(json_schema_extra=_words(*GAP_REASONS))


class Measurement(Body):
    """Of this model on this board, frame in memory to scores."""

    p50_ms: float
    p95_ms: float
    memory_mb: float = Field(description="peak of the process that measured")
    size_mb: float = Field(description="of the file")
    threads: int


class DecisionRules(BaseModel):
    """What holds with the active model: set in `[decision]`, else said by its card."""

    enter: float = Field(ge=0, le=1)
    leave: float = Field(ge=0, le=1)
    margin: float = Field(ge=0, le=1)


class Info(Body):
    """Who this is, and what may be asked of it."""

    version: str = Field(description="of edged")
    contract: Literal["edged/1"] = SCHEMA
    device_id: str = Field(description="a keyed hash: the same for as long as board, system and state folder are")
    device: str = Field(description="as in the topics")
    name: str = Field(description="for people")
    board: str = Field(description="as the device tree or the processor says it")
    arch: str
    memory_mb: int
    os: str = Field(description="name and version of the operating system")
    python: str
    cameras: list[str] = Field(description="kinds, not addresses: picamera2, v4l2, stream, pictures")
    labels: list[str] = Field(description="what the running model can name; `none` and `unknown` come beside them")
    groups: dict[str, list[str]]
    wishes: list[str] = Field(description="what `model/set` takes: auto, names of models, @profiles, @file")
    snapshots: list[Literal["control", "event"]] = Field(description="on what a JPEG is sent; empty: never")
    page: str = Field("", description="address of the page; empty: there is none")


class Model(Body):
    card: str = Field(description="name of the model that runs")
    wish: str = Field(
        description="what is wished for, in the words of `model/set`: auto, a name, @profile; @file: a path in the config"
    )
    sha256: str = Field(description="of the file that runs")
    recast_of: str = Field(
        "",
        description="SHA-256 of the uint8 file that this int8 file was made from and whose accuracies it has; empty: none",
    )
    runtime: str = Field(description="name and version, as the interpreter reported it")
    delegate: str = Field(description="the delegate that took nodes of the graph, or none")
    delegate_nodes: int
    nodes: int
    threads: int
    width: int
    height: int
    dtype: str
    chosen: str = Field(description="how and why: config, auto, override, …")
    governor: str = Field("", description="why heat or load have a smaller model or a lower rate run now; empty when they have not")
    measurement: Measurement | None = None
    budget: dict[str, float] = Field(default_factory=dict)
    decision: DecisionRules | None = None


class ModelErrorBody(Body):
    model_config = ConfigDict(title="ModelError")  # its name in docs/schemas

    asked: str = Field(description="what was wished for")
    reason: str = Field(description="a sentence for people: why it does not run")


class CommandError(Body):
    """What was refused on `control` or came too fast; at most one a second."""

    asked: str = Field(description="the beginning of the last command that was refused")
    reason: str
    refused: int = Field(ge=1, description="commands that were not carried out since the last of these messages")


class Frames(Body):
    """captured = inferred + stale + busy + gated + paused."""

    captured: int = 0
    inferred: int = 0
    stale: int = 0
    busy: int = 0
    gated: int = 0
    paused: int = 0


class Events(Body):
    """events = delivered + queued + dropped (by reason)."""

    events: int = 0
    delivered: int = 0
    queued: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)


class Health(Body):
    uptime_s: float
    frames: Frames
    events: Events
    results_dropped: dict[str, int] = Field(default_factory=dict, description="live results that were not sent, by reason")
    commands_refused: int = Field(0, description="on `control`, `model/set`: malformed, unknown, unusable, faster than 5 a second")
    log_lines_dropped: int = Field(0, description="lines of the log that nobody read in time")
    vision_restarts: int = 0
    broker_connects: int = 0
    fps: float = 0.0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    memory_mb: float = 0.0
    vision_memory_mb: float = 0.0
    temperature_c: float | None = None
    throttled: bool = Field(False, description="the board slows itself down, or has too little power, now")
    waiting_oldest_s: float = Field(0.0, description="age of the oldest event that waits for a broker; 0: none waits")
    degraded: list[str] = Field(default_factory=list, description="what does not work as it should, one sentence each")
    faults: list[dict[str, str | float]] = Field(
        default_factory=list,
        description="the same for programs: kind, since (UTC), and the fields of the kind",
        json_schema_extra={"items": _FAULT},
    )


# topic below edged/<device> → body; `status` and `label` are plain text, `snapshot` is a JPEG
BODIES: dict[str, tuple[type[Body], ...]] = {
    "camera": (CameraState,),
    "state": (State,),
    "result": (Result,),
    "event": (Event,),
    "backlog": (LateEvent, Gap),
    "info": (Info,),
    "model": (Model,),
    "model/error": (ModelErrorBody,),
    "control/error": (CommandError,),
    "health": (Health,),
}
QOS = {"result": 0, "health": 0, "snapshot": 0}  # the others: 1
ONLINE, OFFLINE = "online", "offline"


def to_name(base: str, topic: str) -> str:
    """The whole name of a topic: below `base`, or by itself where it begins with a slash, which is not a part of it."""
    return topic.removeprefix("/") if topic.startswith("/") else f"{base}/{topic}"


def to_rfc3339(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_payload(body: Body, stamp: Stamp) -> bytes:
    """The JSON of one message: the stamp first, so that a person who reads a log sees it first."""
    whole = stamp.model_dump(by_alias=True) | body.model_dump()
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def to_schema(body: type[Body]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a whole payload with this body."""
    whole = create_model(body.__name__, __base__=(body, Stamp))
    return whole.model_json_schema(by_alias=True, mode="serialization")
