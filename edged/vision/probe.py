"""`python -m edged.vision.probe`: the throw-away process in which a model is tried and measured before it may be used.

What it does to this process, it does to nobody else: bounded memory and processor time, no network, no files. The asking
end is edged/models/admission.py.
"""

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import ModelError, ModelFileError
from edged.process.limits import limit
from edged.process.sandbox import begin
from edged.process.seccomp import forbid_network
from edged.system.figures import peak_memory_mb, spent_ns
from edged.system.shapes import Region
from edged.vision.classifier import Classifier, Facts, OutputKind, load_classifier
from edged.vision.frame import Frame, Layout, to_pixel_shape
from edged.vision.preprocess import Crop, to_rgb, to_tensor

MEMORY_MB = 1024
CPU_S = 120
TOLERANCE = 0.06  # tflite-runtime 2.14 and LiteRT 2 differ by up to 8/255 on the same file
_TOP = 16  # as many scores as the vision process sends
_WARM, _FEWEST, _MOST = 3, 20, 1500  # inferences
_SWEEP_S, _TURN = 0.4, 4  # for each number of threads; inferences of one before it is another's turn
_QUIET, _FEW_QUIET = 0.02, 5  # of its time a quiet inference waits at most; so many of them say what sharing costs
_GAIN = 0.9  # another thread must save a tenth, or it only takes a core from others


class Probe:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._model = b""
        self._output: OutputKind | None = None

    def check(
        self, path: str, sha256: str, labels: int, output: OutputKind | None, expected: list[tuple[int, float]]
    ) -> dict[str, Any]:
        """Shapes, label count, and scores that are finite, deterministic, not constant, and the expected ones where known."""
        classifier, _ = load_classifier(Path(path), sha256, labels, output=output)
        facts = classifier.facts
        rows = [classifier.classify(to_tensor(frame, facts.input)) for frame in synthetic_frames()]
        again = classifier.classify(to_tensor(synthetic_frames()[0], facts.input))
        if fault := to_fault(rows, again, expected):
            raise ModelError(fault)
        self._model, self._output = classifier.model, facts.output
        first = rows[0]
        best = [[int(i), round(float(first[i]), 4)] for i in np.argsort(-first, kind="stable")[:3]]
        return {"facts": to_facts(facts), "best": best}

    def measure(
        self,
        layout: Layout,
        width: int,
        height: int,
        region: list[float],
        crop: Crop,
        threads: list[int],
        seconds: float,
        nice: int,
    ) -> dict[str, Any]:
        """Warm latency of frame in memory → scores, with as many threads as pay, and the memory that it took."""
        os.nice(nice)
        work = _Workload(to_frame(layout, width, height), (region[0], region[1], region[2], region[3]), crop)
        best = threads[0] if len(threads) == 1 else self._compare(work, threads)
        gc.collect()
        forget_peak()
        took_ms = self._run(work, best, seconds)
        low, high = to_quantiles(took_ms)
        return {
            "p50_ms": round(low, 3),
            "p95_ms": round(high, 3),
            "memory_mb": peak_memory_mb(),
            "threads": best,
            "runs": len(took_ms),
        }

    def _compare(self, work: "_Workload", threads: list[int]) -> int:
        """How many threads pay: in turns of a few inferences, so that all meet the same noise, and compared pair by pair.

        They must pay in the p95 too: threads that wait for each other on a busy board take longer now and then.
        """
        classifiers = {count: Classifier(self._model, threads=count, output=self._output) for count in threads}
        runs: dict[int, list[Run]] = {count: [] for count in threads}
        ends_s = time.monotonic() + _SWEEP_S * len(threads)
        while len(runs[threads[0]]) < _FEWEST or time.monotonic() < ends_s:
            for count, classifier in classifiers.items():
                work.run(classifier)  # wakes its threads, and lets those of the one before it fall asleep
                runs[count] += [work.run(classifier) for _ in range(_TURN)]
        took_ms = {count: to_own_ms(found, count) for count, found in runs.items()}
        best = threads[0]
        for count in threads[1:]:
            gain = statistics.median(a / b for a, b in zip(took_ms[count], took_ms[best], strict=True))
            if max(gain, to_quantiles(took_ms[count])[1] / to_quantiles(took_ms[best])[1]) < _GAIN:
                best = count
        return best

    def _run(self, work: "_Workload", threads: int, seconds: float) -> list[float]:
        """Milliseconds of each inference after the first few, without what others took."""
        classifier, runs = Classifier(self._model, threads=threads, output=self._output), list[Run]()
        ends_s = time.monotonic() + seconds
        while len(runs) < _FEWEST + _WARM or (time.monotonic() < ends_s and len(runs) < _MOST):
            runs.append(work.run(classifier))
        return to_own_ms(runs[_WARM:], threads)


@dataclass(frozen=True, slots=True)
class Run:
    """One inference: time on the clock, what all threads together ran, and what all together waited for a processor; ns."""

    wall: int
    ran: int
    waited: int

    @property
    def is_quiet(self) -> bool:
        return self.waited <= _QUIET * self.wall


@dataclass(frozen=True, slots=True)
class _Workload:
    """What is measured: from a frame in memory to scores."""

    frame: Frame
    region: Region
    crop: Crop

    def run(self, classifier: Classifier) -> Run:
        before, began_ns = spent_ns(), time.perf_counter_ns()
        scores = classifier.classify(to_tensor(self.frame, classifier.facts.input, self.region, self.crop))
        np.argpartition(scores, -min(_TOP, len(scores)))
        wall_ns = time.perf_counter_ns() - began_ns
        after = {thread: now for thread, now in spent_ns().items() if thread in before}
        ran_ns, waited_ns = (sum(now[which] - before[thread][which] for thread, now in after.items()) for which in (0, 1))
        return Run(wall_ns, ran_ns, waited_ns)


def to_own_ms(runs: Sequence[Run], threads: int) -> list[float]:
    """What each run would have taken had nobody else wanted the processors: the model's own time, and not that of the moment.

    Of a quiet run it is the time on the clock. Of others what they waited is taken off, but never more than leaves each
    thread's share of what they ran, times what sharing the work costs in the quiet ones. Pure.
    """
    quiet = [run.wall * threads / run.ran for run in runs if run.is_quiet and run.ran]
    sharing = statistics.median(quiet) if len(quiet) >= _FEW_QUIET else 1.0
    return [
        (run.wall if run.is_quiet else min(run.wall, max(run.wall - run.waited, run.ran / threads * sharing))) / 1e6 for run in runs
    ]


def synthetic_frames() -> list[Frame]:
    """The same pictures on every board and for every numpy (RandomState's stream is frozen): blocks, ramps, stripes, flats."""
    chance = np.random.RandomState(20170414)  # the day of the paper; Generator's streams may change
    pictures = [_blown_up(chance.randint(0, 256, (side, side, 3))) for side in (4, 8, 16, 64)]
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    pictures.append(np.stack([np.tile(ramp, (256, 1)), np.tile(ramp[:, None], (1, 256)), np.full((256, 256), 90, np.uint8)], -1))
    pictures.append(
        np.where((np.arange(256) // 8 % 2)[None, :, None], np.uint8(230), np.uint8(20)) * np.ones((256, 1, 3), np.uint8)
    )
    pictures += [np.full((256, 256, 3), colour, np.uint8) for colour in ((250, 250, 250), (40, 110, 60))]
    return [Frame(np.ascontiguousarray(p, dtype=np.uint8), "rgb", 256, 256, 0) for p in pictures]


def to_quantiles(took_ms: list[float]) -> tuple[float, float]:
    """Median and p95 of the quietest twenty in a row: what others do to caches and clocks meanwhile is not the model's cost."""
    windows = [took_ms[at : at + _FEWEST] for at in range(0, max(1, len(took_ms) - _FEWEST + 1), _FEWEST)]
    low, high = min((np.quantile(window, (0.5, 0.95), method="higher") for window in windows), key=lambda pair: float(pair[1]))
    return float(low), float(high)


def to_frame(layout: Layout, width: int, height: int) -> Frame:
    """Seeded noise in a camera's layout: what it holds does not change how long a MobileNet takes."""
    pixels = np.random.default_rng(1).integers(0, 256, to_pixel_shape(layout, width, height), np.uint8)
    return Frame(pixels, layout, width, height, 0)


def to_fault(rows: list[NDArray[np.float32]], again: NDArray[np.float32], expected: list[tuple[int, float]]) -> str:
    """What is wrong with the scores, or nothing."""
    if not all(np.isfinite(row).all() for row in rows):
        return "its scores are not finite numbers"
    if any(row.min() < -0.01 or row.max() > 1.01 for row in rows):
        return "its scores are not between 0 and 1"
    if not np.array_equal(rows[0], again):
        return "it gave different scores for the same picture"
    if all(np.array_equal(rows[0], row) for row in rows[1:]):
        return f"it gave the same scores for {len(rows)} different pictures"
    for index, score in expected:
        got = float(rows[0][index]) if index < len(rows[0]) else -1.0
        if abs(got - score) > TOLERANCE:
            return f"its score {index} of the test picture is {got:.2f}, not {score:.2f}: this runtime does not run it rightly"
    return ""


def to_facts(facts: Facts) -> dict[str, Any]:
    return {
        "runtime": facts.runtime,
        "delegate": facts.delegate,
        "delegate_nodes": facts.delegate_nodes,
        "nodes": facts.nodes,
        "width": facts.input.width,
        "height": facts.input.height,
        "dtype": facts.input.dtype,
        "output": facts.output,
    }


def _blown_up(small: NDArray[np.int_]) -> NDArray[np.uint8]:
    times = 256 // small.shape[0]
    return small.repeat(times, 0).repeat(times, 1).astype(np.uint8)


def forget_peak() -> None:
    """Let the peak of memory begin anew (proc(5), clear_refs); where that is forbidden it only counts too much."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def main() -> None:
    forbid_network()
    pipe = begin(MEMORY_MB)
    limit(resource.RLIMIT_CPU, CPU_S)
    cv2.setNumThreads(1)  # as in the vision process
    to_rgb(to_frame("bgr", 64, 64), 32, 32)  # OpenCV wakes before the peak of memory is counted
    probe = Probe()
    pipe.send("ready", {})
    answers: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
        "check": ("checked", probe.check),
        "measure": ("measured", probe.measure),
    }
    while (message := pipe.receive()) is not None:
        kind, fields, _ = message
        said, answer = answers[kind]
        try:
            pipe.send(said, answer(**fields))
        except ModelFileError as error:  # of the bytes that were meant this says nothing
            pipe.send("unreadable", {"reason": str(error)})
        except ModelError as error:
            pipe.send("refused", {"reason": str(error)})
        except MemoryError:
            pipe.send("refused", {"reason": f"it needs more than {MEMORY_MB} MB"})


if __name__ == "__main__":
    main()
