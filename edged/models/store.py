"""Which models are here: the bundled ones, and those in the state folder's `models/` (NAME.tflite, NAME.toml, NAME.txt)."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ModelError, ModelFileError
from edged.models.card import Card, load_cards
from edged.models.catalogue import Catalogue, load_catalogue, to_catalogue
from edged.models.fingerprints import GraphFacts, fingerprints_in, to_graph_facts
from edged.models.labels import fit_labels, load_labels
from edged.models.names import check_name, is_path, to_model_name
from edged.system.files import shipped
from edged.system.text import printable

_MOST_CARDS, _MOST_TOLD = 1000, 20  # of the state folder


@dataclass(frozen=True, slots=True)
class Installed:
    """A model that can be used: its card, its file, one label for each score, and the hash of the file as it is now."""

    card: Card
    path: Path
    labels: tuple[str, ...]
    sha256: str
    size_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """A card whose file is here; the file was not yet looked into."""

    card: Card
    path: Path
    bundled: bool


class Store:
    """The models of one state folder. Any thread; nothing is kept in memory but the shipped cards and the files' hashes."""

    def __init__(self, state_folder: Path, catalogue: Catalogue | None = None) -> None:
        self.folder = state_folder / "models"
        self.shipped = catalogue or load_catalogue()
        self._prints = fingerprints_in(state_folder)

    def find(self, name_or_path: str, labels_file: str = "", family: str = "home") -> Installed:
        """A model by name or path, or the smallest of `family` for "auto". Hashes a file that is new. Raises ModelError."""
        if name_or_path == "auto":
            return self.open(self.smallest(family), labels_file)
        if is_path(name_or_path):
            return self._find_file(Path(name_or_path).expanduser(), labels_file)
        return self.open(self.held_by_name(name_or_path), labels_file)

    def find_base(self, name_or_path: str) -> Installed:
        """As `find`, of what something is built upon: of a bare file no labels are asked for, and it has none here."""
        if is_path(name_or_path):
            return self._find_file(Path(name_or_path).expanduser(), "", is_base=True)
        return self.find(name_or_path)

    def held(self) -> list[Held]:
        """Every model whose file is here, by name. A card in the state folder that can't be read is left out, see `damaged`."""
        bundled = [(card, shipped("models", card.file)) for card in self.shipped.cards if card.file]
        found = {card.name: Held(card, path, True) for card, path in bundled if path.is_file()}
        for card_file, cards in self._own()[0].items():
            path = card_file.with_suffix(".tflite")
            if path.is_file():
                found[cards[0].name] = Held(cards[0], path, False)
        return [found[name] for name in sorted(found)]

    def held_names(self) -> set[str]:
        """Of every model whose file is here."""
        return {one.card.name for one in self.held()}

    def known(self) -> list[Card]:
        """Shipped cards, and those of the state folder, which may also be of models that are still to be pulled."""
        own = [card for cards in self._own()[0].values() for card in cards]
        cards = {card.name: card for card in (*self.shipped.cards, *own)}
        return list(cards.values())

    def damaged(self) -> dict[str, str]:
        """The cards in the state folder that can't be used: their models' names, as far as a file's name says one, and why."""
        return {
            path.stem: printable(f"{error}; it is left out: 'edged models remove {path.stem}'")
            for path, error in self._own()[1].items()
        }

    def left_out(self) -> list[str]:
        """A sentence for each card that is left out, as far as people read: of many the first, and how many more there are."""
        said = list(self.damaged().values())
        more = len(said) - _MOST_TOLD
        told = [*said[:_MOST_TOLD], f"{self.folder}: {more} more cards are left out"] if more > 0 else said
        if self._count_cards() > _MOST_CARDS:
            told.append(f"{self.folder}: holds more than {_MOST_CARDS} cards; by name, the others are not looked at")
        return told

    def _own(self) -> tuple[dict[Path, list[Card]], dict[Path, str]]:
        """The state folder's cards by file, and what is wrong with the other files."""
        good, wrong = dict[Path, list[Card]](), dict[Path, str]()
        for card_file in self._card_files():
            try:
                good[card_file] = load_cards(card_file)
            except ModelError as error:
                wrong[card_file] = printable(str(error))
        return good, wrong

    def _card_files(self) -> list[Path]:
        return sorted(self._names_of_cards())[:_MOST_CARDS]

    def _count_cards(self) -> int:
        return sum(1 for _ in self._names_of_cards())

    def _names_of_cards(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):  # no folder, or none that this user may look into
            yield from (path for path in self.folder.iterdir() if path.suffix == ".toml" and not path.name.startswith("."))

    def known_card(self, name: str) -> Card | None:
        """The shipped card of that name, else the state folder's."""
        return self.shipped.by_name(name) or next((card for card in self.known() if card.name == name), None)

    def held_by_name(self, name: str) -> Held:
        """Raises ModelError that says how to get it."""
        held = {one.card.name: one for one in self.held()}
        if name in held:
            return held[name]
        if fault := self.damaged().get(name):
            raise ModelError(fault)
        known = self.known()
        if any(card.name == name for card in known):
            raise ModelError(
                f"model {name} is known but not installed: fetch it with 'edged models pull {name}', or copy its file here "
                f"and run 'edged models add FILE'"
            )
        raise ModelError(f"there is no model \"{name}\"{to_catalogue(known).near(name)}: 'edged models list' shows all")

    def smallest(self, family: str) -> Held:
        """The cheapest installed model of a family whose accuracy is known: what runs before anything was measured."""
        known = [one for one in self.held() if one.card.family == family and one.card.top1 is not None]
        if not known:
            families = sorted({one.card.family for one in self.held() if one.card.top1 is not None})
            raise ModelError(
                f'no model of the family "{family}" with known accuracy is installed (here: {", ".join(families) or "none"}): '
                "set model.family or model.name, or run 'edged models add' or 'edged models pull'"
            )
        return min(known, key=lambda one: (one.card.million_macs or 0, one.card.bytes or 0))

    def open(self, held: Held, labels_file: str = "") -> Installed:
        """The file of a held model, hashed where it is new, and its labels. Raises ModelError when it is not what its card says."""
        card, path = held.card, held.path
        sha256, size = self._prints.sha256_of(path)
        if card.sha256 and sha256 != card.sha256:  # nothing is refused for what is only remembered
            self.forget(path)
            sha256, size = self._prints.sha256_of(path)
        if card.sha256 and sha256 != card.sha256:
            cure = "reinstall edged" if held.bundled else f"'edged models remove {card.name}' and add it again"
            was = f"SHA-256 {sha256[:12]}…, not {card.sha256[:12]}…"
            raise ModelError(f"{path}: the file is not the one that was installed ({was}): {cure}")
        return Installed(card, path, self.labels_of(card, labels_file, path), sha256, round(size / 1e6, 3))

    def graph_of(self, held: Held) -> GraphFacts:
        """What the graph of a held model says. Raises ModelError."""
        return self._prints.graph_of(held.path)

    def forget(self, path: Path) -> None:
        """A file turned out to be another one than it was: it is read again."""
        self._prints.forget(path)

    def _find_file(self, path: Path, labels_file: str, *, is_base: bool = False) -> Installed:
        try:
            return self._open_file(path, labels_file, is_base=is_base)
        except ModelError:
            if not self._prints.forget(path):
                raise
        return self._open_file(path, labels_file, is_base=is_base)  # nothing is refused for what is only remembered

    def _open_file(self, path: Path, labels_file: str, *, is_base: bool) -> Installed:
        """A bare file: its card is the catalogue's if its hash is known, else what the graph itself tells."""
        sha256, size = self._prints.sha256_of(path)
        card = self.by_sha256(sha256)
        if card is None:
            with at_path(path):
                facts = self._prints.graph_of(path)
            card = to_bare_card(path, sha256, size, facts)
            if not labels_file:
                if is_base:
                    return Installed(card, path, (), sha256, round(size / 1e6, 3))
                raise ModelError(f"{path}: this file has no card, so it needs its labels: {_labels_cure(card)}")
        return Installed(card, path, self.labels_of(card, labels_file, path), sha256, round(size / 1e6, 3))

    def by_sha256(self, sha256: str) -> Card | None:
        """The card of exactly this file, shipped or installed."""
        installed = next((one.card for one in self.held() if one.card.sha256 == sha256), None)
        return installed or self.shipped.by_sha256(sha256)

    def labels_of(self, card: Card, labels_file: str, path: Path) -> tuple[str, ...]:
        """The given labels, which win, or the card's; exactly as many as the model has scores. Raises ModelError."""
        if labels_file:
            return fit_labels(load_labels(Path(labels_file).expanduser()), card.label_count, card.background_offset, labels_file)
        if not card.labels:
            raise ModelError(f"{path}: model {card.name} has no labels: {_labels_cure(card)}")
        beside = self.folder / card.labels
        where = beside if "/" not in card.labels and beside.is_file() else shipped("models", card.labels)
        return fit_labels(load_labels(where, card.labels_sha256), card.label_count, card.background_offset, str(where))


@contextlib.contextmanager
def at_path(path: Path) -> Iterator[None]:
    """A ModelError about the bytes of a file begins with its path."""
    try:
        yield
    except ModelFileError:
        raise
    except ModelError as e:
        raise ModelError(f"{path}: {e}") from None


def to_facts_of(model: bytes, path: Path) -> GraphFacts:
    """What the graph in these bytes says. Raises ModelError that begins with the path."""
    with at_path(path):
        return to_graph_facts(model)


def to_bare_card(path: Path, sha256: str, size: int, facts: GraphFacts, name: str = "") -> Card:
    """A card with what the graph tells, and no accuracy. size: in bytes. Raises ModelError for a name that can't be one."""
    interface = facts.interface
    name = check_name(name or to_model_name(path.stem))
    return Card(
        name=name,
        family="",
        sha256=sha256,
        bytes=size,
        px=max(interface.height, interface.width),
        dtype=interface.input_dtype,
        million_macs=round(facts.macs.total / 1e6, 2) or None,
        million_params=round(facts.params / 1e6, 3) or None,
        label_count=interface.classes,
        output=interface.output,
        verified=False,
    )


def _labels_cure(card: Card) -> str:
    return f"set model.labels (or --labels) to a file with {card.label_count} lines"
