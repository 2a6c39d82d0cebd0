"""All cards that came with edged."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edged.errors import ModelError
from edged.models.card import Card, load_cards
from edged.system.files import shipped
from edged.system.text import did_you_mean


@dataclass(frozen=True)
class Catalogue:
    """Cards by name and by hash. Names are unique; the first file of a hash wins."""

    cards: tuple[Card, ...]

    def by_name(self, name: str) -> Card | None:
        return next((card for card in self.cards if card.name == name), None)

    def by_sha256(self, sha256: str) -> Card | None:
        return next((card for card in self.cards if card.sha256 and card.sha256 == sha256), None)

    def family(self, name: str) -> list[Card]:
        return [card for card in self.cards if card.family == name]

    def families(self) -> list[str]:
        return sorted({card.family for card in self.cards if card.family})

    def near(self, name: str) -> str:
        """` (did you mean …?)`, or nothing."""
        return did_you_mean(name, (card.name for card in self.cards))


@functools.cache
def load_catalogue(folder: Path | None = None) -> Catalogue:
    """The cards of a folder, else the shipped ones; read once in the life of a process.

    Raises ModelError for a broken card or a name that is used twice.
    """
    folder = folder or shipped("models")
    cards = [card for path in sorted(folder.glob("*.toml")) for card in load_cards(path)]
    return to_catalogue(cards)


def to_catalogue(cards: Iterable[Card]) -> Catalogue:
    """Pure. Raises ModelError for a name that is used twice."""
    known: dict[str, Card] = {}
    for card in cards:
        if card.name in known:
            raise ModelError(f"two cards have the name {card.name}: names are unique")
        known[card.name] = card
    return Catalogue(tuple(known.values()))
