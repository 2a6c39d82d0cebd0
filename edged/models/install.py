"""Bringing models into the store and taking them out: whole or not at all. The card is written last and removed first."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tomlkit

from edged.errors import ModelError, ReadError, WriteError
from edged.models.admission import Admission
from edged.models.card import Card, load_cards
from edged.models.labels import fit_labels, load_labels
from edged.models.names import check_name
from edged.models.recast import forget_sibling
from edged.models.store import Installed, Store, to_bare_card, to_facts_of
from edged.models.tflite.graph import Interface
from edged.system.files import (
    LARGEST_BYTES,
    SHARED,
    acting_for,
    hash_model,
    make_folder,
    read_file,
    read_model,
    sync_folder,
    take_away,
    write_file,
)

_NEW = ".new"  # a folder in which a model's files are until they are whole
_SUFFIXES = (".tflite", ".txt", ".svg", ".toml")  # of a model's files, in the order in which they get their names
_ALIKE = 0.01  # the MACs of the same network agree within this


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator said besides the file."""

    labels: Path | None = None
    card: Path | None = None
    name: str = ""


def add(
    store: Store, path: Path, wish: Wish, admission: Admission | None, check_change: Callable[[str], None] = lambda _: None
) -> Installed:
    """Install a file from anywhere. Tried first by `admission`, where one is given; check_change: as of `install`.

    Raises ModelError, WriteError.
    """
    model = read_model(path)
    card = to_card(store, path, model, wish)
    labels_file = wish.labels or (_labels_beside(wish.card, card) if wish.card is not None else None)
    labels = store.labels_of(card, str(labels_file or ""), path)
    one = Installed(card, path, labels, hashlib.sha256(model).hexdigest())
    if admission is not None:
        verdict = admission.admit(one, again=True)
        if not verdict.admitted:
            raise ModelError(f"{path}: refused: {verdict.reason}")
    installed = install(store, one, model, own_labels=labels_file is not None, check_change=check_change)
    if admission is not None:
        admission.make_sibling(installed)
    return installed


def install(
    store: Store,
    one: Installed,
    model: bytes,
    *,
    own_labels: bool,
    report: bytes = b"",
    replace: bool = False,
    check_change: Callable[[str], None] = lambda _: None,
) -> Installed:
    """Write the files, in the rights of whom the folder belongs to. Raises ModelError when the name is taken, WriteError.

    report: an SVG that is kept beside the model; replace: whether another model of the name may be replaced; check_change: raises
    ModelError where the model of that name, which is there and is not what is written now, may not become another one.
    """
    card = one.card
    held = {h.card.name: h for h in store.held()}.get(card.name)
    if held is not None and held.bundled:
        raise ModelError(f"the name {card.name} belongs to a bundled model: choose another with --as")
    if held is not None and not replace and hash_model(held.path)[0] != one.sha256:
        cure = f"'edged models remove {card.name}' first, or choose a name with --as"
        raise ModelError(f"another model is installed as {card.name}: {cure}")
    files = {".tflite": model}
    if own_labels:
        files[".txt"] = ("\n".join(one.labels) + "\n").encode()
        card = card.model_copy(update={"labels": f"{card.name}.txt", "labels_sha256": hashlib.sha256(files[".txt"]).hexdigest()})
    if report:
        files[".svg"] = report
    card = card.model_copy(update={"file": "", "sha256": one.sha256, "bytes": len(model)})
    files[".toml"] = tomlkit.dumps(card.to_toml()).encode()
    target = store.folder / f"{card.name}.tflite"
    if held is not None and not all(_holds(target.with_suffix(suffix), content) for suffix, content in files.items()):
        check_change(card.name)
    with acting_for(store.folder):
        _write(target, files)
    return Installed(card, target, one.labels, one.sha256)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_file(path, LARGEST_BYTES) == content
    except ReadError:
        return False


def _write(target: Path, files: dict[str, bytes]) -> None:
    """All files of a model, beside `target`, the card last: whole on the disk before the first of them has its name.

    Raises WriteError.
    """
    new = target.with_name(f".{target.stem}{_NEW}")
    try:
        make_folder(target.parent, 0o750)
        with _alone(target.parent):
            _sweep(target.parent)
            for suffix, content in files.items():
                write_file(new / f"{target.stem}{suffix}", content, SHARED)
            _name(new, target)
    except OSError as error:
        raise WriteError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            take_away(new)


def _name(new: Path, target: Path) -> None:
    """Give each file in `new` its name, the card last. Raises OSError."""
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            (new / f"{target.stem}{suffix}").replace(target.with_name(f"{target.stem}{suffix}"))
    take_away(new)
    sync_folder(target.parent)


def sweep(store: Store) -> None:
    """What a command left that was killed while it installed a model is taken away, or brought to its end where the files had
    begun to get their names: then they are whole, and the model of before is not. Nothing where another one installs now."""
    with contextlib.suppress(OSError), acting_for(store.folder), _alone(store.folder, wait=False):
        _sweep(store.folder)


def _sweep(folder: Path) -> None:
    for left in folder.glob(f".*{_NEW}"):
        name = left.name[1:].removesuffix(_NEW)
        is_begun = not left.is_symlink() and (left / f"{name}.toml").is_file() and not os.path.lexists(left / f"{name}.tflite")
        if is_begun:
            _name(left, folder / f"{name}.tflite")
        else:
            take_away(left)


@contextlib.contextmanager
def _alone(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """No other command installs a model meanwhile. The lock ends with the process. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def remove(store: Store, name: str) -> None:
    """Raises ModelError for what is not installed or was bundled, WriteError."""
    sweep(store)
    was = ""
    if name in store.damaged():  # what its card said nobody knows, and it need not be known to take it away
        path = store.folder / f"{name}.tflite"
    else:
        held = store.held_by_name(name)
        if held.bundled:
            raise ModelError(f"model {name} came with edged and cannot be removed alone")
        path, was = held.path, held.card.sha256
    try:
        with acting_for(store.folder):
            hashes = {was}  # and of what the file is now, where it is no longer what was installed
            with contextlib.suppress(ModelError):  # what can't be read can be taken away
                hashes.add(hash_model(path)[0])
            for sha256 in hashes:
                forget_sibling(store.folder.parent, sha256)
            take_away(path.with_suffix(".toml"))
            _clear(path)
            sync_folder(store.folder)
    except OSError as e:
        raise WriteError(f"{path}: cannot be removed: {e.strerror}") from None


def verify(store: Store, name: str, admission: Admission | None, *, again: bool = False) -> str:
    """What is wrong with an installed model, or nothing: file, hash, labels, graph, and by `admission` its last or a new trial."""
    if fault := store.damaged().get(name):
        return fault
    try:
        held = store.held_by_name(name)
        store.forget(held.path)  # it is read, whatever is known of it
        one = store.open(held)
        to_facts_of(read_model(one.path), one.path)
        verdict = None if admission is None else admission.admit(one, again=True) if again else admission.recall_verdict(one)
        if verdict is not None and not verdict.admitted:
            return f"model {name} is refused: {verdict.reason}" if again else verdict.to_refusal(name)
    except ModelError as fault:
        return str(fault)
    return ""


def to_card(store: Store, path: Path, model: bytes, wish: Wish) -> Card:
    """The one that was given, of its hash, vouched for, or what its graph tells. Raises ModelError for the name of another."""
    facts = to_facts_of(model, path)
    sha256 = hashlib.sha256(model).hexdigest()
    if wish.card is not None:
        card = _named(_given_card(wish.card, path, sha256, facts.interface), wish.name)
    elif (known := store.by_sha256(sha256)) is not None:
        card = _named(known, wish.name)
    else:
        card = _to_unknown_card(store, path, to_bare_card(path, sha256, len(model), facts, wish.name), wish.name)
    published = store.shipped.by_name(card.name)
    if published is not None and published.sha256 != sha256:  # however it came to the name: --as, its card, or the file's own
        _check_alike(published, to_bare_card(path, sha256, len(model), facts, card.name), path)
        if (known := store.shipped.by_sha256(sha256)) is not None:
            raise ModelError(
                f"{path}: this is no {card.name}: it is {known.name}, whose hash it has: choose another name with --as"
            )
    return card


def _to_unknown_card(store: Store, path: Path, bare: Card, name: str) -> Card:
    """Of a file whose hash nobody knows. name: as which it is vouched for, or nothing."""
    if vouched := (store.known_card(name) if name else None):
        _check_alike(vouched, bare, path)
        return vouched.model_copy(update={"expected": [], "verified": True})
    if twin := next((card for card in store.shipped.cards if _alike(card, bare)), None):
        # it looks like one of them, so its labels are theirs; whether it sees as well as they do nobody knows
        told = {"network": twin.network, "width_multiplier": twin.width_multiplier, "labels": twin.labels}
        told |= {"labels_sha256": twin.labels_sha256, "background_offset": twin.background_offset, "family": twin.family}
        return bare.model_copy(update=told)
    return bare


def _given_card(card_file: Path, path: Path, sha256: str, interface: Interface) -> Card:
    cards = load_cards(card_file)
    fitting = [card for card in cards if card.sha256 == sha256] or [card for card in cards if not card.sha256]
    if len(fitting) != 1:
        raise ModelError(f"{card_file}: {len(fitting)} of its {len(cards)} cards can be of {path} (by SHA-256 {sha256[:12]}…)")
    (card,) = fitting
    hold_against(card, interface, str(card_file))
    if (labels := _labels_beside(card_file, card)) is not None:
        fit_labels(load_labels(labels, card.labels_sha256), card.label_count, card.background_offset, str(labels))
    return card


def _labels_beside(card_file: Path, card: Card) -> Path | None:
    """The labels file that lies beside a card, as those of an installed model do."""
    path = card_file.parent / card.labels
    return path if card.labels and "/" not in card.labels and path.is_file() else None


def hold_against(card: Card, interface: Interface, where: str) -> None:
    """Raises ModelError when the graph is not what the card says."""
    says = (card.label_count, card.px, card.dtype, card.output)
    gives = (interface.classes, max(interface.height, interface.width), interface.input_dtype, interface.output)
    if says != gives:
        card_says, graph_has = ("{} scores, {} px, {}, {}".format(*one) for one in (says, gives))
        raise ModelError(f"{where}: the card of {card.name} says {card_says}, but the graph has {graph_has}")


def _named(card: Card, name: str) -> Card:
    return card.model_copy(update={"name": check_name(name or card.name)})


def _check_alike(claimed: Card, bare: Card, path: Path) -> None:
    """Raises ModelError when the graph is not that of the model under whose name it would be installed."""
    if not _alike(claimed, bare):
        told = f"its graph has {_shape(bare)}, the card says {_shape(claimed)}"
        raise ModelError(f"{path}: this is no {claimed.name}: {told}: choose another name with --as")


def _alike(card: Card, bare: Card) -> bool:
    """The same network by its shapes; a hash is what tells whether it is the same file."""
    if card.million_macs is None or bare.million_macs is None or abs(card.million_macs / bare.million_macs - 1) > _ALIKE:
        return False
    return (card.px, card.dtype, card.label_count, card.output) == (bare.px, bare.dtype, bare.label_count, bare.output)


def _shape(card: Card) -> str:
    return f"{card.px} px, {card.dtype}, {card.million_macs} million MACs, {card.label_count} scores ({card.output})"


def _clear(target: Path) -> None:
    for suffix in (".tflite", ".txt", ".svg"):
        with contextlib.suppress(OSError):
            take_away(target.with_suffix(suffix))
