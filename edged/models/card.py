"""A card: everything that is known of one model without running it. `models/*.toml` hold them, one `[[card]]` after another."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edged.errors import ModelError, ReadError
from edged.models.names import NAME
from edged.system.documents import load_toml
from edged.system.files import read_file

Ratio = Annotated[float, Field(ge=0, le=1)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Dtype = Literal["uint8", "int8", "float32"]
OutputKind = Literal["probabilities", "logits"]
IndexScore = Annotated[tuple[int, float], Field(strict=False)]  # TOML has arrays
_LARGEST_BYTES = 256 * 1024  # the longest of ours is a fifth of it
_MOST_KEYS = 20_000
_MOST_FAULTS = 20
CurvePoint = Annotated[tuple[Ratio, Ratio, Ratio], Field(strict=False)]
_PART = "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,79}"
_BESIDE = f"{_PART}(/{_PART}){{0,3}}"  # below the folder of the card: no way out of it, and nothing from the root


class _Part(BaseModel):
    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Accuracy(_Part):
    """Share of ImageNet's validation pictures whose class was the best, or among the best five, answers."""

    top1: Ratio
    top5: Ratio | None = None


class HomeAccuracy(_Part):
    """What the project measured on its own `test` photographs, with the file itself.

    mean: of the per-class accuracies; grouped: background / person / animal / vehicle; left_out, left_out_grouped: on sources
    of photographs that a run with the same recipe had never learnt from; calibration_error: expected, of the best score;
    recall, certain_wrong: at the card's `enter` and `margin`, the share of the classes' photographs that are named rightly, and
    the share of photographs of unrelated things that get a name; curve: (enter, recall, certain_wrong), rising.
    """

    mean: Ratio
    grouped: Ratio
    left_out: Ratio | None = None
    left_out_grouped: Ratio | None = None
    calibration_error: Ratio | None = None
    recall: Ratio | None = None
    certain_wrong: Ratio | None = None
    per_class: dict[str, Ratio] = Field(default_factory=dict)
    curve: list[CurvePoint] = Field(default_factory=list, max_length=100)


class Base(_Part):
    """The published network whose weights a model was begun with."""

    name: str = Field(pattern=f"^{NAME}$")
    licence: str = Field(min_length=1)
    sha256: Sha256


class Layers(_Part):
    """Which layers of the base were trained further, and which are the published ones but for rounding; `conv_0` is the first."""

    tuned: list[str] = Field(default_factory=list, max_length=1000)
    kept: list[str] = Field(default_factory=list, max_length=1000)


class TaughtAccuracy(_Part):
    """What `edged teach` measured on held-out pictures of the person who taught it: shares of right answers.

    pictures, per_label: of each label; named: of these pictures, with the card's thresholds; others_named: of other things.
    """

    accuracy: Ratio
    named: Ratio
    others_named: Ratio
    others: int = Field(ge=0)
    pictures: dict[str, int] = Field(max_length=100)
    per_label: dict[str, Ratio] = Field(max_length=100)


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
    labels: str = Field("", pattern=f"^({_BESIDE})?$", description="labels file beside the card")
    labels_sha256: Sha256 = ""
    label_count: int = Field(ge=2)
    background_offset: Literal[0, 1] = Field(0, description="1: row 0 is `background`, the training set's classes begin at row 1")
    colour: Literal["rgb"] = "rgb"
    output: OutputKind
    announced: Accuracy | None = Field(None, description="the announcement of 2017: the float network before conversion")
    published: Accuracy | None = Field(None, description="of the published file itself")
    measured: HomeAccuracy | None = Field(None, description="by this project, on its own photographs")
    taught: TaughtAccuracy | None = Field(None, description="by `edged teach`, on pictures that were held out")
    enter: float | None = Field(None, gt=0, le=1, description="the score from which this model's answer becomes the label")
    leave: float | None = Field(None, gt=0, le=1, description="the score below which it no longer is; at most `enter`")
    margin: float | None = Field(None, ge=0, lt=1, description="how far the best score must be above the next")
    based_on: Base | None = Field(None, description="the published network that it was made from")
    layers: Layers | None = Field(None, description="what of the base was trained further")
    expected: list[IndexScore] = Field(default_factory=list, description="the best of the probe's first synthetic picture")
    recast_of: Sha256 = Field("", description="the uint8 file that this int8 file was made from; the accuracies are that file's")
    verified: bool = Field(True, description="false: it looks like a known model, but nobody vouched for it")
    licence: str = ""
    training_set: str = ""

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.leave is not None and (self.enter is None or self.leave > self.enter):
            raise ValueError("leave: needs an enter that is at least as high")
        return self

    @property
    def top1(self) -> float | None:
        """Its accuracy; None where nobody knows it, and then `auto` never chooses it."""
        if not self.verified:
            return None
        if self.measured:
            return self.measured.mean
        return self.published.top1 if self.published else None

    @property
    def named(self) -> float | None:
        """Share of the classes' photographs that it names rightly at its own thresholds; None where nobody measured it."""
        return self.measured.recall if self.measured and self.verified else None

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
        tables = load_toml(read_file(path, _LARGEST_BYTES).decode("utf-8-sig"), _MOST_KEYS)
    except ReadError as e:
        raise ModelError(str(e)) from None
    except ValueError as e:
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
