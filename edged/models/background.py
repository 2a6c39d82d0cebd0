"""`python -m edged.models.background PARENT_PID`: what takes seconds and must not hold up the courier, in a process beside it.

One request as JSON on stdin, one answer on stdout; what was found out is in the ledger. It dies with the courier.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edged.errors import EdgedError, ModelError
from edged.models.admission import Admission, Scene
from edged.models.fit.choice import Budget
from edged.models.fit.fit import Fit, Fitting, NotMeasuredError
from edged.models.store import Installed, Store
from edged.process.lifeline import die_with

NICE = 10
_LONGEST_S = {"admit": 180.0, "fit": 1800.0, "recast": 600.0}


@dataclass(frozen=True)
class Wanted:
    """What the settings say about models, as values."""

    state_folder: Path
    name: str
    labels: str
    family: str
    threads: tuple[int, ...]
    budget: Budget
    scene: Scene
    recast: bool = True


def would_begin_with(wanted: Wanted) -> Installed:
    """The model that a daemon would begin with. Measures nothing. Raises ModelError."""
    store = Store(wanted.state_folder)
    admission = Admission(wanted.state_folder, recast=wanted.recast)
    return begin_with(store, Fitting(store, admission, wanted.scene, wanted.threads), wanted)[0]


def begin_with(store: Store, fitting: Fitting, wanted: Wanted) -> tuple[Installed, Fit | None]:
    """The model that runs first: the wanted one, or for `auto` what fit chose before, else the smallest; and that fit.

    None for the fit where a name is wanted, or too little was measured. Measures nothing. Raises ModelError.
    """
    fit = None
    if wanted.name == "auto":
        with contextlib.suppress(NotMeasuredError):
            fit = fitting.recall(wanted.family, wanted.budget)
    if fit is not None and fit.chosen is not None:
        return store.find(fit.chosen.card.name, wanted.labels), fit
    return store.find(wanted.name, wanted.labels, wanted.family), fit


async def fit_beside(wanted: Wanted) -> None:
    """Measure what `wanted` needs; recall it from the ledger afterwards. Raises ModelError. Cancelling ends the process."""
    await _ask("fit", wanted)


async def admit_beside(wanted: Wanted) -> None:
    """Try `wanted.name`. Raises ModelError with the reason when it is refused. Cancelling ends the process."""
    await _ask("admit", wanted)


async def recast_beside(wanted: Wanted) -> None:
    """Make the int8 sibling of `wanted.name`. Raises ModelError where that could not be tried. Cancelling ends the process."""
    await _ask("recast", wanted)


async def _ask(what: str, wanted: Wanted) -> None:
    request = json.dumps({"do": what, **asdict(wanted), "state_folder": str(wanted.state_folder)})
    command = (sys.executable, "-P", "-m", "edged.models.background", str(os.getpid()))
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    except OSError as error:  # no memory, or no more processes: it may pass
        raise ModelError(f"the process that tries models could not be started: {error.strerror or error}") from None
    try:
        async with asyncio.timeout(_LONGEST_S[what]):
            answer, _ = await process.communicate(request.encode())
    except TimeoutError:
        raise ModelError(f"trying models took longer than {_LONGEST_S[what]:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if (reason := to_reason(answer)) is None:
        raise ModelError(f"the process that tries models ended with {process.returncode}")
    if reason:
        raise ModelError(reason)


def to_reason(answer: bytes) -> str | None:
    """Why it was refused, empty when it was not; None for what is no answer. Pure."""
    try:
        reason = json.loads(answer)["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return reason if isinstance(reason, str) else None


def main() -> None:
    die_with(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(sys.stdin.read())
    os.nice(NICE)
    try:
        _do(request.pop("do"), to_wanted(request))
        error = ""
    except EdgedError as told:
        error = str(told)
    sys.stdout.write(json.dumps({"error": error}))


def to_wanted(request: Mapping[str, Any]) -> Wanted:
    """Pure."""
    scene = request["scene"] | {"region": tuple(request["scene"]["region"])}
    return Wanted(
        state_folder=Path(request["state_folder"]),
        name=request["name"],
        labels=request["labels"],
        family=request["family"],
        threads=tuple(request["threads"]),
        budget=Budget(**request["budget"]),
        scene=Scene(**scene),
        recast=request["recast"],
    )


def _do(what: str, wanted: Wanted) -> None:
    store, admission = Store(wanted.state_folder), Admission(wanted.state_folder, recast=wanted.recast)
    if what == "fit":
        Fitting(store, admission, wanted.scene, wanted.threads).fit(wanted.family, wanted.budget)
        return
    installed = store.find(wanted.name, wanted.labels, wanted.family)
    if what == "recast":
        admission.make_sibling(installed)
        return
    verdict = admission.admit(installed)
    if not verdict.admitted:
        raise ModelError(f"model {wanted.name} is refused: {verdict.reason}")


if __name__ == "__main__":
    main()
