"""A taught model on its way into the store: its card, its trial, its files. Nothing lies on the disk before the trial is passed."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edged.errors import ModelError
from edged.models.admission import Admission
from edged.models.card import Base, Card, TaughtAccuracy
from edged.models.install import install
from edged.models.store import Installed, Store, to_bare_card, to_facts_of
from edged.models.teach.report import to_svg
from edged.models.teach.teach import Plan, Taught

UNKNOWN_LICENCE = "as its base"


def check_name_is_free(store: Store, plan: Plan, *, again: bool) -> None:
    """Raises ModelError before anything is computed. again: a model of that name that was taught is replaced."""
    held = {one.card.name: one for one in store.held()}.get(plan.name)
    if held is None:
        if any(card.name == plan.name for card in store.shipped.cards):
            raise ModelError(f"the name {plan.name} belongs to a published model: choose another name")
        return
    if held.bundled:
        raise ModelError(f"the name {plan.name} belongs to a bundled model: choose another name")
    if held.card.taught is None:
        raise ModelError(f"another model is installed as {plan.name}, and it was not taught: choose another name")
    if not again:
        raise ModelError(f"{plan.name} was taught before: --again replaces it, 'edged models remove {plan.name}' takes it away")


def keep(
    store: Store, taught: Taught, admission: Admission, *, again: bool, check_change: Callable[[str], None]
) -> tuple[Installed, Path]:
    """Try it, install it, and write its report beside it: (the model, the report). check_change: as of `install`.

    Raises ModelError, WriteError.
    """
    with _in_memory(taught.model) as path:
        one = Installed(to_card(taught, path), path, taught.plan.labels, hashlib.sha256(taught.model).hexdigest())
        verdict = admission.admit(one, again=True)
        if not verdict.admitted:
            raise ModelError(f"{taught.plan.name} was taught, but is refused: {verdict.reason}")
    check_name_is_free(store, taught.plan, again=again)
    report = to_svg(taught).encode()
    installed = install(store, one, taught.model, own_labels=True, report=report, replace=again, check_change=check_change)
    return installed, installed.path.with_suffix(".svg")


@contextmanager
def _in_memory(model: bytes) -> Iterator[Path]:
    """A path under which the process that tries it can read it, and that a SIGKILL leaves nothing of."""
    handle = os.memfd_create("taught")
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(model)
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)


def to_card(taught: Taught, path: Path) -> Card:
    """The card of a taught model. Raises ModelError when its graph is no classifier."""
    plan, figures, base = taught.plan, taught.figures, taught.plan.base.card
    sha256 = hashlib.sha256(taught.model).hexdigest()
    bare = to_bare_card(path, sha256, len(taught.model), to_facts_of(taught.model, path), plan.name)
    counts = taught.counts()
    return bare.model_copy(
        update={
            "network": base.network,
            "width_multiplier": base.width_multiplier,
            "based_on": Base(name=base.name, licence=base.licence or UNKNOWN_LICENCE, sha256=plan.base.sha256),
            "licence": base.licence or UNKNOWN_LICENCE,
            "training_set": f"{len(taught.pictures)} pictures of {len(counts)} labels",
            "enter": figures["enter"],
            "leave": figures["leave"],
            "margin": figures["margin"],
            "taught": TaughtAccuracy(
                accuracy=round(taught.accuracy, 3),
                named=round(taught.named, 3),
                others_named=round(taught.others_named, 3),
                others=figures["others"],
                pictures={label: count for label, count, _ in counts},
                per_label={label: round(right / max(1, count), 3) for label, count, right in counts},
            ),
        }
    )
