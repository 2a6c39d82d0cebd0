"""What an owned vision process may say: every kind of lie over the real pipe. The courier lives, stays small, tells nothing raw."""

import asyncio
import json
import logging
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edged.decision import Rules
from edged.delivery.publisher import Courier
from edged.process.jpeg import JpegParts
from edged.process.pipe import LARGEST_BYTES, Pipe
from edged.process.protocol import LONGEST_SENTENCE
from edged.process.supervisor import Supervision
from edged.system.clock import Clock
from edged.system.figures import peak_memory_mb
from edged.system.text import PrintableFormatter
from tests.campaigns.size import SEED, count, report
from tests.contract.delivery.test_broker import dispatching

GROWTH_MB = 4
LABELS = ("background", "cat", "dog")
FRAMES = {"captured": 1, "inferred": 1, "stale": 0, "busy": 0, "gated": 0, "paused": 0}
TIMING = {"capture": 1.0, "preprocess": 1.0, "invoke": 1.0, "postprocess": 1.0}
ESCAPE = "\x1b]0;owned\x07\x1b[2J\nERROR courier: forged line\r"

Word = tuple[str, Any, bytes]


def result(**other: Any) -> dict[str, Any]:
    fields = {
        "index": 1,
        "captured_ns": time.monotonic_ns(),
        "width": 640,
        "height": 480,
        "picture": "",
        "scores": [[1, 0.9], [0, 0.1]],
        "timing_ms": TIMING,
        "frames": FRAMES,
    }
    return fields | other


def facts(**other: Any) -> dict[str, Any]:
    wanted = {"width": 96, "height": 96, "dtype": "uint8", "scale": 1.0, "zero": 0, "float_range": [-1.0, 1.0]}
    own = {"runtime": "r", "delegate": "XNNPACK", "delegate_nodes": 1, "nodes": 1, "threads": 1, "input": wanted}
    return own | {"label_count": 3, "output": "probabilities"} | other


def loaded(**other: Any) -> dict[str, Any]:
    return {"number": 1, "path": "/x", "sha256": "0" * 64, "load_ms": 1.0, "facts": facts()} | other


def camera(**other: Any) -> dict[str, Any]:
    return {"state": "ok", "fault": "", "reason": ""} | other


def packet(kind: str, fields: Any, attachment: bytes = b"") -> bytes:
    head = json.dumps({"kind": kind, **fields}).encode()
    return head + b"\0" + attachment if attachment else head


def words(kind: str, *many: dict[str, Any]) -> Callable[[], list[bytes]]:
    return lambda: [packet(kind, fields) for fields in many]


# every one is refused: the process that says it is ended
LIES: dict[str, Callable[[], list[bytes]]] = {
    "a time to come": lambda: [packet("result", result(captured_ns=time.monotonic_ns() + 10**13))],
    "the end of time": words("result", result(captured_ns=2**63 - 1)),
    "beyond the end of time": words("result", result(captured_ns=2**70)),
    "a time before the start": words("result", result(captured_ns=-1)),
    "gated in the future": words("gated", {"captured_ns": 2**62, "frames": FRAMES}),
    "a time with a fraction": words("result", result(captured_ns=1.5)),
    "a time in quotes": words("result", result(captured_ns="1")),
    "an endless index": words("result", result(index=10**400)),
    "a number too long to read": lambda: [b'{"kind":"beat","memory_mb":' + b"9" * 5000 + b"}"],
    "a negative count": words("beat", {"frames": FRAMES | {"captured": -1}, "memory_mb": 1.0}),
    "a count too large": words("beat", {"frames": FRAMES | {"captured": 2**53}, "memory_mb": 1.0}),
    "no such count": words("beat", {"frames": FRAMES | {"stolen": 1}, "memory_mb": 1.0}),
    "endless memory": words("beat", {"frames": FRAMES, "memory_mb": 1e300}),
    "memory that is no number": lambda: [packet("beat", {"frames": FRAMES, "memory_mb": float("nan")})],
    "infinite time": lambda: [packet("result", result(timing_ms=TIMING | {"invoke": float("inf")}))],
    "time beyond all": words("result", result(timing_ms=TIMING | {"invoke": 1e308})),
    "time before": words("result", result(timing_ms=TIMING | {"capture": -1e308})),
    "a score above one": words("result", result(scores=[[1, 2.0]])),
    "a score below nothing": words("result", result(scores=[[1, -0.1]])),
    "a score of an endless index": words("result", result(scores=[[2**40, 0.5]])),
    "ten thousand scores": words("result", result(scores=[[1, 0.5]] * 10_000)),
    "a picture a mile wide": words("result", result(width=2**31)),
    "a name with escapes": words("result", result(picture=ESCAPE)),
    "a name without end": words("result", result(picture="x" * 5000)),
    "a reason with escapes": words("camera", camera(state="lost", fault="absent", reason=ESCAPE)),
    "a reason with lines": words("camera", camera(state="lost", reason="a\nERROR forged")),
    "a reason turned round": words("camera", camera(state="lost", reason="abc\u202edef")),
    "a reason without end": words("camera", camera(state="lost", reason="x" * (LONGEST_SENTENCE + 1))),
    "a state that is none": words("camera", camera(state="\x1b[31m")),
    "a fault with escapes": words("camera", camera(state="lost", fault="\x1b[2J")),
    "a fault in capitals": words("camera", camera(state="lost", fault="X" * 40)),
    "a runtime with escapes": words("loaded", loaded(facts=facts(runtime=ESCAPE))),
    "a hash that is none": words("loaded", loaded(sha256="../../etc/passwd")),
    "a path without end": words("loaded", loaded(path="/" * 100_000)),
    "facts with more": words("loaded", loaded(facts=facts() | {"more": 1})),
    "facts with less": words("loaded", loaded(facts={})),
    "an input without end": words("loaded", loaded(facts=facts(input=facts()["input"] | {"width": 10**12}))),
    "a scale that is no number": lambda: [packet("loaded", loaded(facts=facts(input=facts()["input"] | {"scale": float("nan")})))],
    "a refusal with escapes": words("load_failed", {"number": 1, "path": "/x", "reason": ESCAPE}),
    "a failure with escapes": words("model_failed", {"reason": ESCAPE}),
    "another's process": words("ready", {"pid": -1}),
    "a word that is none": words("system", {"cmd": "reboot"}),
    "a method of ours": words("done", {}),
    "a word with more": words("camera", camera() | {"x": 1}),
    "a word with less": words("camera", {}),
    "no kind": lambda: [b'{"captured_ns": 1}'],
    "a list": lambda: [b"[]"],
    "no JSON": lambda: [b"\xff\xfe\x00\x01"],
    "nested": lambda: [b'{"kind":"camera","state":' + b"[" * 90_000],
    "nested objects": lambda: [b'{"a":' * 20_000 + b"1" + b"}" * 20_000],
    "a key twice": lambda: [b'{"kind":"camera","kind":"system"}'],
    "a picture that nobody asked for": lambda: [packet("snapshot", {"last": True}, b"\xff\xd8\xff" + bytes(1000))],
    "parts without end": lambda: [packet("snapshot", {"last": False}, bytes(100_000))] * 40,
    "a flood of words": lambda: [packet("beat", {"frames": FRAMES, "memory_mb": 1.0})] * 5000,
    "a flood of states": lambda: [
        packet("camera", camera(state="lost", fault="absent", reason=f"reason {number}")) for number in range(500)
    ],
    "a flood of models": lambda: [packet("loaded", loaded(number=number)) for number in range(500)],
    "the largest packet": lambda: [b"x" * LARGEST_BYTES],
}
# and these are believed, or do nothing
HONEST: dict[str, Callable[[], list[bytes]]] = {
    "an honest minute": lambda: [
        packet("ready", {"pid": 4711}),
        packet("camera", camera()),
        packet("loaded", loaded()),
        *[packet("result", result(index=number)) for number in range(100)],
        packet("gated", {"captured_ns": time.monotonic_ns(), "frames": FRAMES}),
        packet("beat", {"frames": FRAMES, "memory_mb": 120.5}),
    ],
    "a time of long ago": words("result", result(captured_ns=0)),
    "times that go back": lambda: [packet("result", result(captured_ns=at)) for at in (10**9, 5, 10**9, 0)],
    "labels that are not there": words("result", result(scores=[[2**19, 0.9]])),
    "the same score a thousand times": words("result", result(scores=[[1, 0.9]] * 2000)),
}


class Listener:
    """The courier's end: what the daemon does with what it hears, with the real parts."""

    def __init__(self, courier: Courier) -> None:
        self.courier, self.heard, self.jpeg = courier, 0, JpegParts()
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.theirs = theirs
        theirs.setblocking(False)
        self.supervision = Supervision()
        self.supervision.listen(self.on_message, lambda _gone: None)
        self.supervision._pipe = Pipe(self.ours)
        self.refused = False

    def on_message(self, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        self.heard += 1
        try:
            self._tell(kind, fields, attachment)
        except ValueError:
            self.refused = True

    def _tell(self, kind: str, fields: dict[str, Any], attachment: bytes) -> None:
        if kind == "result":
            self.courier.result(**fields)
        elif kind == "gated":
            self.courier.gated(**fields)
        elif kind == "camera":
            self.courier.camera(**fields)
        elif kind == "beat":
            self.courier.frames(fields["frames"])
        elif kind == "snapshot":
            self.jpeg.add(attachment, last=fields["last"])

    def hear(self, packets: list[bytes]) -> None:
        for one in packets:
            try:
                self.theirs.send(one)
            except BlockingIOError:
                self.drain()
                if self.refused:
                    return
                self.theirs.send(one)
        self.drain()

    def drain(self) -> None:
        while not self.refused and self.supervision._receive():
            pass
        self.refused = self.refused or self.supervision.is_distrusted

    def close(self) -> None:
        for end in (self.ours, self.theirs):
            end.close()


async def hear_all(folder: Path, cases: list[tuple[str, Callable[[], list[bytes]]]]) -> dict[str, bool]:
    refused = {}
    async with dispatching(folder, port=1) as dispatch:
        courier = Courier(dispatch, Clock(), Rules(), result_fps=10)
        courier.use_model("m", LABELS)
        for name, make in cases:
            listener = Listener(courier)
            listener.hear(make())
            refused[name] = listener.refused
            listener.close()
            assert courier.camera_reason.isprintable()
            await asyncio.sleep(0)
    return refused


def hear_in_this_process(folder: Path, log_file: Path, wanted: int) -> dict[str, Any]:
    """What a courier's process does with `wanted` words: which were refused, and by how much its peak grew."""
    handler = logging.FileHandler(log_file)  # keeps no records, so that what grows is the courier
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    rng, everything = random.Random(SEED), [*LIES.items(), *HONEST.items()]
    asyncio.run(hear_all(folder / "first", everything))  # what is loaded and cached once is no growth
    before_mb = peak_memory_mb()
    cases = [*everything, *(rng.choice(everything) for _ in range(max(0, wanted - len(everything))))]
    refused = asyncio.run(hear_all(folder / "second", cases))
    return {"said": len(cases), "refused": refused, "grown_mb": round(peak_memory_mb() - before_mb, 1)}


HEAR = "import json, sys; from pathlib import Path; from tests.campaigns.test_hostile_words import hear_in_this_process as hear\n"
HEAR += "print(json.dumps(hear(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))"


def test_no_word_hurts(tmp_path: Path) -> None:
    """In a process of its own: what pytest keeps of a test, log records above all, is no growth of the courier."""
    wanted, log_file = count(200, 5000), tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", HEAR, tmp_path, log_file, str(wanted)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert {name for name, was in found["refused"].items() if was} == set(LIES)
    assert {name for name, was in found["refused"].items() if not was} == set(HONEST)
    # a log line is one line, and no terminal obeys it
    lines = log_file.read_text().removesuffix("\n").split("\n")
    assert all(line.isprintable() and line.startswith(("INFO ", "WARNING ")) for line in lines)
    assert not any("forged" in line for line in lines) and len(lines) < 70 * found["said"]
    assert found["grown_mb"] <= GROWTH_MB
    figures = {"kinds": len(LIES), "honest": len(HONEST), "said": found["said"], "ends_of_the_courier": 0, "seed": SEED}
    report("hostile_words", figures | {"grown_mb": found["grown_mb"], "escapes": 0, "log_lines": len(lines)})
