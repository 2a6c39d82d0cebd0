"""A card: everything that is known of one model without running it. `models/*.toml` hold them, one `[[card]]` after another."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.errors import ModelError, ReadError
from edged.system.files import read_file

Ratio = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Dtype = Literal["uint8", "int8", "float32"]
OutputKind = Literal["probabilities", "logits"]
IndexScore = Annotated[tuple[int, float], Field(strict=False)]  # TOML has arrays
_LARGEST_BYTES = 256 * 1024  # the longest of ours is a fifth of it
_MOST_FAULTS = 20
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Accuracy(_Part):
    """Share of ImageNet's validation pictures whose class was the best, or among the best five, answers."""

    top1: Ratio
    top5: Ratio | None = None


class HomeAccuracy(_Part):
    """What the project measured on its own `test` photographs, with the file itself.

    mean: of the per-class accuracies; grouped: background / person / animal / vehicle; left_out: mean on a source of
    photographs that was left out of the training.
    """

    mean: Ratio
    grouped: Ratio
    left_out: Ratio | None = None
    per_class: dict[str, Ratio] = Field(default_factory=dict)


class Card(_Part):
    """One model. Accuracies are ratios, counts are in millions; an unknown hash is empty, an unknown number is absent."""

    name: str = Field(pattern=f"^{NAME}$")
    family: str = Field(pattern=r"^[a-z0-9_-]*$", description="what `auto` chooses among; empty: alone")
    network: str = Field("", description="the architecture, as its paper calls it")
    file: str = Field("", pattern=f"^({NAME})?$", description="bundled models: the file beside the cards")
    archive: str = Field("", pattern=r"^([^\s]+\.(tgz|tar\.gz|tflite))?$", description="where it is published, without the scheme")
    archive_sha256: Sha256 = ""
    sha256: Sha256 = ""
    bytes: int | None = Field(None, gt=0)
    width_multiplier: float | None = Field(None, gt=0)
    px: int = Field(ge=8, le=1024, description="side of the input")
    dtype: Dtype = Field(description="of the input")
    million_macs: float | None = Field(None, gt=0, description="computed from the graph's shapes")
    million_macs_announced: float | None = Field(None, gt=0, description="as its authors say")
    million_params: float | None = Field(None, gt=0)
    labels: str = Field("", pattern=r"^[A-Za-z0-9_./-]*$", description="labels file beside the card")
    labels_sha256: Sha256 = ""
    label_count: int = Field(ge=2)
    background_offset: Literal[0, 1] = Field(0, description="1: row 0 is `background`, the training set's classes begin at row 1")
    colour: Literal["rgb"] = "rgb"
    output: OutputKind
    announced: Accuracy | None = Field(None, description="the announcement of 2017: the float network before conversion")
    published: Accuracy | None = Field(None, description="of the published file itself")
    enter: Ratio | None = Field(None, description="score from which an answer of this model is to be believed")
    leave: Ratio | None = Field(None, description="score below which it is not believed any more")
    margin: Ratio | None = Field(None, description="by so much its best answer must lead")
    measured: HomeAccuracy | None = Field(None, description="by this project, on its own photographs")
    expected: list[IndexScore] = Field(default_factory=list, description="the best of the probe's first synthetic picture")
    verified: bool = Field(True, description="false: it looks like a known model, but nobody vouched for it")
    licence: str = ""
    training_set: str = ""

    @property
    def top1(self) -> float | None:
        """The accuracy that `auto` compares within a family; None where nobody knows it, and then `auto` never chooses it."""
        if not self.verified:
            return None
        if self.measured:
            return self.measured.mean
        return self.published.top1 if self.published else None

    @property
    def macs_deviation(self) -> float | None:
        """(announced − computed) / computed."""
        if self.million_macs is None or self.million_macs_announced is None:
            return None
        return self.million_macs_announced / self.million_macs - 1

    def to_toml(self) -> dict[str, Any]:
        """What differs from the defaults, for a file with one card."""
        return {"card": [self.model_dump(mode="json", exclude_defaults=True, exclude_none=True)]}


def load_cards(path: Path) -> list[Card]:
    """All cards of a file. Raises ModelError with every fault that the file has."""
    try:
        tables = tomllib.loads(read_file(path, _LARGEST_BYTES).decode("utf-8-sig"))
    except ReadError as e:
        raise ModelError(str(e)) from None
    except (ValueError, RecursionError) as e:
        raise ModelError(f"{path}: not a TOML file of cards: {_first_line(e)}") from None
    cards, faults = [], [f'unknown key "{key}": a card begins with [[card]]' for key in tables if key != "card"]
    found = tables.get("card", [])
    if not isinstance(found, list) or not found:
        faults.append("no [[card]] in it")
        found = []
    for number, table in enumerate(found, 1):
        try:
            cards.append(Card.model_validate(table))
        except ValidationError as e:
            name = str(table.get("name", number)) if isinstance(table, dict) else str(number)
            faults += [f"card {name}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in e.errors()]
    if faults:
        more = [f"and {len(faults) - _MOST_FAULTS} more"] if len(faults) > _MOST_FAULTS else []
        raise ModelError(f"{path}: " + "; ".join(fault[:300] for fault in [*faults[:_MOST_FAULTS], *more]))
    return cards


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
