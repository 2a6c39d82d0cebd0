"""What the vision process may say over the pipe. A model or a stream may own that process; what is none of these words,
word for word, is not believed, and the process is ended.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Nanoseconds = Annotated[int, Field(ge=0, lt=2**63)]
Milliseconds = Annotated[float, Field(ge=0)]
Sentence = Annotated[str, Field(max_length=2000)]


# JSON has no tuples
_Score = Annotated[tuple[Count, Annotated[float, Field(ge=0, le=1.01)]], Field(strict=False)]


class _Word(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Frames(_Word):
    captured: Count
    inferred: Count
    stale: Count
    busy: Count
    gated: Count
    paused: Count


class _Ready(_Word):
    pid: Count


class _Camera(_Word):
    state: Literal["starting", "ok", "lost", "frozen", "paused"]
    fault: Annotated[str, Field(max_length=40)]
    reason: Sentence


class _Timing(_Word):
    capture: float
    preprocess: Milliseconds
    invoke: Milliseconds
    postprocess: Milliseconds


class _Result(_Word):
    index: Count
    captured_ns: Nanoseconds
    width: Count
    height: Count
    picture: Annotated[str, Field(max_length=255)]
    scores: Annotated[list[_Score], Field(max_length=2000)]
    timing_ms: _Timing
    frames: _Frames


class _Gated(_Word):
    captured_ns: Nanoseconds
    frames: _Frames


class _Beat(_Word):
    frames: _Frames
    memory_mb: Annotated[float, Field(ge=0)]


class _Input(_Word):
    width: Count
    height: Count
    dtype: Literal["uint8", "int8", "float32"]
    scale: float
    zero: int
    float_range: Annotated[tuple[float, float], Field(strict=False)]


class _Facts(_Word):
    runtime: Annotated[str, Field(max_length=80)]
    delegate: Annotated[str, Field(max_length=80)]
    delegate_nodes: Count
    nodes: Count
    threads: Count
    input: _Input
    label_count: Count
    output: Literal["probabilities", "logits"]


class _Loaded(_Word):
    number: Count
    path: str
    sha256: Annotated[str, Field(max_length=64)]
    load_ms: Milliseconds
    facts: _Facts


class _LoadFailed(_Word):
    number: Count
    path: str
    reason: Sentence


class _ModelFailed(_Word):
    reason: Sentence


class _Snapshot(_Word):
    last: bool


_WORDS: dict[str, type[_Word]] = {
    "ready": _Ready,
    "camera": _Camera,
    "result": _Result,
    "gated": _Gated,
    "beat": _Beat,
    "loaded": _Loaded,
    "load_failed": _LoadFailed,
    "model_failed": _ModelFailed,
    "snapshot": _Snapshot,
}


def check_word(kind: str, fields: dict[str, Any]) -> None:
    """Raises ValueError for what is not exactly one of the words."""
    word = _WORDS.get(kind)
    if word is None:
        raise ValueError("no word of ours")
    word.model_validate(fields)
