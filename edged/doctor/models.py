"""Model files against their hashes, and the configured one in a throw-away process: does it run, and on XNNPACK."""

import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edged.doctor.finding import Finding, fail, ok, skipped, warn, worst
from edged.doctor.libraries import pip
from edged.errors import EdgedError, ModelError
from edged.models.admission import Admission
from edged.models.install import verify
from edged.models.store import Held, Installed, Store


def check_models(state_folder: Path, name: str, labels: str, family: str, config: str) -> Iterator[Finding]:
    """`config`: what goes behind -c in commands. Some seconds. Thread: the main one, whose child tries the model."""
    store = Store(state_folder)
    held = store.held()
    files = check_files(store, held, config)
    yield files
    try:
        installed = store.find(name, labels, family)
    except ModelError as error:
        said = str(error)
        yield (
            skipped("model-runs", "see model-files") if files.state == "fail" else fail("model-runs", said, f"edged check{config}")
        )
        return
    yield check_run(installed)


def check_files(store: Store, held: list[Held], config: str) -> Finding:
    if damaged := store.damaged():
        name, said = next(iter(damaged.items()))
        odd = not name.isprintable()  # a name that would write commands of its own
        cure = f"ls -b {shlex.quote(str(store.folder))}" if odd else f"sudo edged models remove {shlex.quote(name)}{config}"
        return fail("model-files", said, cure)
    faults = {one.card.name: fault for one in held if (fault := verify(store, one.card.name, None))}
    if not faults:
        return ok("model-files", f"{len(held)} models are what they were")
    changed = [one for one in held if one.card.name in faults]
    return worst((fail("model-files", faults[one.card.name], _file_cure(one, config)) for one in changed), ok("model-files", ""))


def _file_cure(held: Held, config: str) -> str:
    name = shlex.quote(held.card.name)
    if held.bundled:
        return pip("install --force-reinstall --no-deps edged")
    if held.card.archive_sha256:
        return f"sudo edged models pull {name}{config}"
    return f"sudo edged models remove {name}{config}  # and add it again: edged models add FILE --as {name}"


def check_run(installed: Installed) -> Finding:
    """Tried anew whatever was found before, and nothing of it is remembered: it leaves no file of root's in the state folder."""
    name = installed.card.name
    try:
        with tempfile.TemporaryDirectory(prefix="edged-doctor-") as folder:
            verdict = Admission(Path(folder)).admit(installed, again=True)
    except EdgedError as error:
        return skipped("model-runs", str(error))
    except OSError as error:  # also where no folder for temporary files can be written
        return skipped("model-runs", f"{name} could not be tried: {error.strerror or error}")
    if not verdict.admitted:
        return fail("model-runs", f"{name}: {verdict.reason}", "edged models list  # and set model.name to another, or to auto")
    facts = verdict.facts
    delegate, taken, nodes, runtime = (facts.get(key) for key in ("delegate", "delegate_nodes", "nodes", "runtime"))
    said = f"{name} on {runtime}"
    if delegate != "XNNPACK" or not taken:
        # tflite-runtime gives XNNPACK float models only
        cure = (
            f"{pip('uninstall -y tflite-runtime')}\n{pip('install ai-edge-litert')}"
            if str(runtime).partition(" ")[0] == "tflite-runtime"
            else (pip("install --force-reinstall --no-deps ai-edge-litert"))
        )
        return warn("model-runs", f"{said}: XNNPACK takes no part of it, so it is several times slower", cure)
    return ok("model-runs", f"{said}: XNNPACK took {taken} of {nodes} nodes")
