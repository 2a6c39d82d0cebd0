"""What a frame costs on this board with one model: the asking end, which also is the other process that reads the results."""

from dataclasses import dataclass
from typing import Any

from edged.errors import ModelError
from edged.models.store import Installed
from edged.process.protocol import FROM_SANDBOX, FROM_VISION
from edged.process.sandbox import SandboxError, ThrowAway
from edged.system.shapes import WHOLE, Region

LIMIT_S = 60.0  # for one message; results come all the time
_CHILD = "edged.vision.bench.frame"


@dataclass(frozen=True, slots=True)
class FrameRun:
    """layout: of a frame in memory, or mjpeg. fps: 0 = one frame after the other."""

    width: int
    height: int
    layout: str
    threads: int
    fps: float
    seconds: float
    region: Region = WHOLE
    crop: str = "full"


def bench_frame(installed: Installed, run: FrameRun) -> dict[str, Any]:
    """The object that `edged bench frame --json` prints. Blocks for `seconds`. Raises ModelError. Thread: the main one."""
    about = {"path": str(installed.path.absolute()), "sha256": installed.sha256, "labels": len(installed.labels)}
    about |= {"output": installed.card.output, "threads": run.threads, "fps": run.fps, "seconds": run.seconds}
    about |= {"layout": run.layout, "width": run.width, "height": run.height, "region": list(run.region), "crop": run.crop}
    try:
        child = ThrowAway(_CHILD, {"OPENCV_LOG_LEVEL": "SILENT"}, installed.path, hears={**FROM_SANDBOX, **FROM_VISION})
        try:
            kind, answer = child.ask("bench", about, LIMIT_S)
            results = 0
            while kind not in ("benched", "refused", "load_failed", "model_failed"):
                results += kind == "result"
                kind, answer = child.hear(LIMIT_S)
        finally:
            child.close()
    except SandboxError as lost:
        raise ModelError(f"model {installed.card.name} cannot be measured: the process that does it {lost}") from None
    if kind != "benched":
        raise ModelError(f"model {installed.card.name} cannot be measured: {answer['reason']}")
    if answer.pop("results") != results:
        raise ModelError(f"model {installed.card.name} was not measured: results were lost on the way")
    return to_told(answer) | {"recast": bool(installed.card.recast_of), "sha256": installed.sha256}


def to_told(answer: dict[str, Any]) -> dict[str, Any]:
    """Rounded, and with names for the quantiles. Pure."""
    told = dict(answer)
    for key in ("pipeline_ms", "invoke_ms"):
        low, high = answer[key]
        told[key] = {"p50": round(low, 4), "p95": round(high, 4)}
    return told | {key: round(answer[key], 4) for key in ("pipeline_cpu_ms", "invoke_cpu_ms", "ratio", "fps")}
