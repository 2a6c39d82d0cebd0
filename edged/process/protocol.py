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


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _FramesPart(_Message):
    captured: Count
    inferred: Count
    stale: Count
    busy: Count
    gated: Count
    paused: Count


class _ReadyMessage(_Message):
    pid: Count


class _CameraMessage(_Message):
    state: Literal["starting", "ok", "lost", "frozen", "paused"]
    fault: Annotated[str, Field(max_length=40)]
    reason: Sentence


class _TimingPart(_Message):
    capture: float
    preprocess: Milliseconds
    invoke: Milliseconds
    postprocess: Milliseconds


class _ResultMessage(_Message):
    index: Count
    captured_ns: Nanoseconds
    width: Count
    height: Count
    picture: Annotated[str, Field(max_length=255)]
    scores: Annotated[list[_Score], Field(max_length=2000)]
    timing_ms: _TimingPart
    frames: _FramesPart


class _GatedMessage(_Message):
    captured_ns: Nanoseconds
    frames: _FramesPart


class _BeatMessage(_Message):
    frames: _FramesPart
    memory_mb: Annotated[float, Field(ge=0)]


class _InputPart(_Message):
    width: Count
    height: Count
    dtype: Literal["uint8", "int8", "float32"]
    scale: float
    zero: int
    float_range: Annotated[tuple[float, float], Field(strict=False)]


class _FactsPart(_Message):
    runtime: Annotated[str, Field(max_length=80)]
    delegate: Annotated[str, Field(max_length=80)]
    delegate_nodes: Count
    nodes: Count
    threads: Count
    input: _InputPart
    label_count: Count
    output: Literal["probabilities", "logits"]


class _LoadedMessage(_Message):
    number: Count
    path: str
    sha256: Annotated[str, Field(max_length=64)]
    load_ms: Milliseconds
    facts: _FactsPart


class _LoadFailedMessage(_Message):
    number: Count
    path: str
    reason: Sentence


class _ModelFailedMessage(_Message):
    reason: Sentence


class _SnapshotMessage(_Message):
    last: bool


_WORDS: dict[str, type[_Message]] = {
    "ready": _ReadyMessage,
    "camera": _CameraMessage,
    "result": _ResultMessage,
    "gated": _GatedMessage,
    "beat": _BeatMessage,
    "loaded": _LoadedMessage,
    "load_failed": _LoadFailedMessage,
    "model_failed": _ModelFailedMessage,
    "snapshot": _SnapshotMessage,
}


def check_word(kind: str, fields: dict[str, Any]) -> None:
    """Raises ValueError for what is not exactly one of the words."""
    word = _WORDS.get(kind)
    if word is None:
        raise ValueError("no word of ours")
    word.model_validate(fields)
