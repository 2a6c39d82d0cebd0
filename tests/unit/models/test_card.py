"""Cards, labels and the catalogue: the shipped ones are sound, and a broken one is told with what is wrong."""

import csv
import hashlib
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.models.card import Card, load_cards
from edged.models.catalogue import load_catalogue, to_catalogue
from edged.models.labels import fit_labels, load_labels, to_labels
from edged.system.files import shipped
from tests.shared import SHARED, needs_shared

PLAIN = {"name": "small", "family": "own", "px": 96, "dtype": "int8", "label_count": 3, "output": "logits"}
TABLE = "[[card]]\nname = 'x'\nfamily=''\npx=96\ndtype='int8'\nlabel_count=3\noutput='logits'\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "cards.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no [[card]]"),
        ("card = 3", "no [[card]]"),
        ("[[card]", "not a TOML file"),
        ("[[card]]\nname = 'x'", "card x: px: Field required"),
        ("[[card]]\nname = '../x'\nfamily=''\npx=96\ndtype='int8'\nlabel_count=3\noutput='logits'", "name: String should match"),
        ("[[card]]\nname = 'x'\nfamily=''\npx=96\ndtype='int4'\nlabel_count=3\noutput='logits'", "'uint8', 'int8' or 'float32'"),
        ("[[card]]\nname = 'x'\nfamily=''\npx=96\ndtype='int8'\nlabel_count=3\noutput='logits'\ntop=1", "top: Extra inputs"),
        (f"{TABLE}enter=0", "enter: Input should be greater than 0"),
        (f"{TABLE}enter=1.1", "enter: Input should be less than or equal to 1"),
        (f"{TABLE}enter=nan", "enter: Input should be"),
        (f"{TABLE}enter=0.6\nleave=0", "leave: Input should be greater than 0"),
        (f"{TABLE}enter=0.6\nleave=0.7", "leave: needs an enter that is at least as high"),
        (f"{TABLE}leave=0.4", "leave: needs an enter that is at least as high"),
        (f"{TABLE}margin=1.0", "margin: Input should be less than 1"),
        (f"{TABLE}margin=-0.1", "margin: Input should be greater than or equal to 0"),
        (f"{TABLE}enter='0.6'", "enter: Input should be a valid number"),
        (f"{TABLE}based_on={{name='x', licence='', sha256=''}}", "based_on.licence: String should have at least 1 character"),
        (f"{TABLE}measured={{mean=0.5, grouped=0.5, curve=[[0.5, 2.0, 0.1]]}}", "measured.curve.0.1: Input should be less than"),
        ("[extra]", 'unknown key "extra"'),
    ],
)
def test_a_broken_card_is_told(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ModelError) as told:
        load_cards(_file(tmp_path, text))
    assert says in str(told.value)


def test_names_are_unique() -> None:
    with pytest.raises(ModelError, match="two cards have the name small"):
        to_catalogue([Card.model_validate(PLAIN)] * 2)


def test_an_unverified_card_has_no_accuracy() -> None:
    card = Card.model_validate(PLAIN | {"published": {"top1": 0.5, "top5": 0.7}})
    assert card.top1 == 0.5
    assert card.model_copy(update={"verified": False}).top1 is None


def test_a_card_may_say_what_is_certain_with_it(tmp_path: Path) -> None:
    (card,) = load_cards(_file(tmp_path, f"{TABLE}enter = 0.7\nleave = 0.5\nmargin = 0.1\n"))
    assert (card.enter, card.leave, card.margin) == (0.7, 0.5, 0.1)
    (equal,) = load_cards(_file(tmp_path, f"{TABLE}enter = 1.0\nleave = 1.0\n"))
    assert (equal.enter, equal.leave, equal.margin) == (1.0, 1.0, None)
    (silent,) = load_cards(_file(tmp_path, TABLE))
    assert (silent.enter, silent.leave, silent.margin) == (None, None, None)


def test_every_shipped_card_has_its_labels_and_known_accuracy() -> None:
    for card in load_catalogue().cards:
        labels = load_labels(shipped("models", card.labels), card.labels_sha256)
        assert len(labels) == card.label_count, card.name
        assert card.top1 is not None, card.name
        if card.file:
            content = shipped("models", card.file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == card.sha256, card.name


@needs_shared
def test_the_32_official_rows_are_all_there_with_their_figures() -> None:
    assert SHARED is not None
    catalogue = load_catalogue()
    rows = list(csv.DictReader((SHARED / "facts/mobilenet_v1.tsv").open(), delimiter="\t"))
    assert len(rows) == 32
    for row in rows:
        card = catalogue.by_name(row["name"])
        assert card is not None and card.announced is not None and card.published is not None
        assert (card.archive, card.archive_sha256, card.sha256) == (row["archive"], row["archive_sha256"], row["tflite_sha256"])
        assert (card.width_multiplier, card.px, card.dtype) == (
            float(row["width_multiplier"]),
            int(row["input_px"]),
            row["dtype"],
        )
        assert card.million_macs_announced == float(row["million_macs"])
        assert card.announced.top1 == pytest.approx(float(row["seed_float_top1"]) / 100)
        assert card.published.top5 == pytest.approx(float(row["published_top5"]) / 100)


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_the_announced_macs_of_1_0_and_0_5_agree_with_the_graphs_within_1_percent(width: float) -> None:
    cards = [card for card in load_catalogue().cards if card.network == "mobilenet_v1" and card.width_multiplier == width]
    imagenet = [card for card in cards if card.family == "imagenet"]
    assert len(imagenet) == 8
    for card in imagenet:
        assert card.macs_deviation is not None and abs(card.macs_deviation) < 0.01, card.name


def test_the_announcement_was_wrong_where_we_say_so() -> None:
    catalogue = load_catalogue()
    deviations = {card.name: card.macs_deviation or 0 for card in catalogue.family("imagenet")}
    assert deviations["mobilenet_v1_0.25_192"] > 0.1
    assert deviations["mobilenet_v1_0.75_224"] < -0.02


def test_labels_of_imagenet_fit_a_known_offset_and_nothing_else() -> None:
    thousand = tuple(map(str, range(1000)))
    assert fit_labels(thousand, 1001, 1, "x")[:2] == ("background", "0")
    with pytest.raises(ModelError, match="1000 labels, but the model gives 1001 scores; if row 0"):
        fit_labels(thousand, 1001, 0, "x")
    with pytest.raises(ModelError, match="3 labels, but the model gives 1001"):
        fit_labels(("a", "b", "c"), 1001, 1, "x")


@pytest.mark.parametrize(("content", "says"), [(b"", "empty"), (b"a\n\nb", ":2: this line is empty"), (b"a\n\xff", "not UTF-8")])
def test_a_broken_labels_file_is_told(content: bytes, says: str) -> None:
    with pytest.raises(ModelError) as told:
        to_labels(content, "labels.txt")
    assert says in str(told.value)


def test_labels_come_as_people_write_them() -> None:
    assert to_labels("\ufeffcat\r\n dog \r\n\r\n".encode(), "x") == ("cat", "dog")


@pytest.mark.parametrize(
    "labels", ["/etc/edged/mqtt_password", "../../etc/passwd", "labels/../../../etc/passwd", "..", ".", "./x", "a//b", "a/", "/"]
)
def test_the_labels_of_a_card_lie_beside_it_and_nowhere_else(tmp_path: Path, labels: str) -> None:
    """Else a card from a stranger makes a label of a password, which every subscriber is told."""
    with pytest.raises(ModelError, match="labels: String should match"):
        load_cards(_file(tmp_path, f"{TABLE}background_offset=1\nlabels='{labels}'"))
    for fine in ("labels/imagenet_1001.txt", "x.txt", "_own-2.txt", ""):
        assert load_cards(_file(tmp_path, f"{TABLE}labels='{fine}'"))[0].labels == fine
