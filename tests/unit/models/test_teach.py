"""What can be seen before a picture is opened, the marks, and the report."""

import stat
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edged.errors import ModelError
from edged.models.store import Store
from edged.models.teach import marks as marks_module
from edged.models.teach.figures import is_consistent
from edged.models.teach.marks import Marks
from edged.models.teach.report import to_interval, to_svg
from edged.models.teach.teach import (
    FEWEST,
    MOST,
    OTHER,
    Lost,
    Picture,
    Plan,
    Taught,
    check_label,
    check_plan,
    find_bank,
)
from edged.system.files import write_file


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    base = Store(tmp_path).find("home_0.25_96")
    pictures = [Picture(Path(f"/{label}/{n}.jpg"), label) for label in ("open", "shut") for n in range(20)]
    return Plan("gate", base, ("open", "shut"), tuple(pictures))


def test_a_good_plan_is_fine(plan: Plan) -> None:
    check_plan(plan)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "mark"}, "edged teach mark is a command"),
        ({"name": "marks"}, "edged teach marks is a command"),
        ({"name": "forget"}, "edged teach forget is a command"),
        ({"name": "auto"}, "is no name for a model"),
        ({"name": "../gate"}, "is no name for a model"),
        ({"name": "x" * 81}, '"xxxxxxxxxxxxxxxxxxxx…" is no name for a model: at most 80 letters'),
        ({"name": "gate.tflite"}, "it is a file's: leave the .tflite away"),
        ({"labels": ("open",)}, 'at least two labels, and there is only "open"'),
        ({"labels": ()}, "at least two labels, and there is none"),
        ({"labels": ("open", "none")}, "means that no label is seen"),
        ({"labels": ("open", "unknown")}, "means that no label is seen"),
        ({"labels": ("open", "shut", "ajar")}, f'"ajar" has 0 pictures: at least {FEWEST} are needed'),
    ],
)
def test_what_cannot_be_is_said_at_once(plan: Plan, changed: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        check_plan(replace(plan, **changed))


@pytest.mark.parametrize("label", ["", " open", ".open", "..", "a=b", "a\nb", "x" * 81, "\x1b[2J", "none", "unknown", "other"])
def test_labels_that_can_not_be(label: str) -> None:
    with pytest.raises(ModelError) as refused:
        check_label(label)
    assert "\n" not in str(refused.value) and "\x1b" not in str(refused.value)


@pytest.mark.parametrize("label", ["open", "Mülltonne raus", "我们的猫", "50 % open", "a/b"])
def test_labels_that_can(label: str) -> None:
    assert check_label(label) == label


def test_too_many_pictures_are_said(plan: Plan) -> None:
    many = tuple(Picture(Path(f"/open/{n}.jpg"), "open") for n in range(MOST + 1))
    with pytest.raises(ModelError, match="are the most that are taken"):
        check_plan(replace(plan, pictures=many + plan.pictures))


def test_too_many_pictures_altogether_are_said_before_one_is_opened(plan: Plan) -> None:
    """The process that learns from them would be out of memory, after all of them were looked at."""
    labels = tuple(f"label {n}" for n in range(12))
    pictures = tuple(Picture(Path(f"/{label}/{n}.jpg"), label) for label in labels for n in range(126))
    with pytest.raises(ModelError, match="1,512 pictures are more than the 1,500 that are taken altogether"):
        check_plan(replace(plan, labels=labels, pictures=pictures))
    check_plan(replace(plan, labels=labels, pictures=pictures[:1500]))


def test_a_base_without_a_bank_needs_others(plan: Plan, tmp_path: Path) -> None:
    elsewhere = replace(plan.base, path=tmp_path / "home_0.25_96.tflite")  # the same name is not the same file
    assert find_bank(plan.base) is not None and find_bank(elsewhere) is None
    with pytest.raises(ModelError, match=r"has no bank of ordinary things.*--other FOLDER with at least 20"):
        check_plan(replace(plan, base=elsewhere))
    others = tuple(Picture(Path(f"/other/{n}.jpg"), OTHER) for n in range(20))
    check_plan(replace(plan, base=elsewhere, pictures=plan.pictures + others))


# marks


def test_marks_are_private_listed_and_erased(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    for label in ("open", "open", "a/b ..", "我们的猫"):
        path = marks.add(label, b"\xff\xd8\xffx")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
    assert {one.label: one.count for one in marks.all()} == {"open": 2, "a/b ..": 1, "我们的猫": 1}
    assert {label for label, _ in marks.pictures()} == {"open", "a/b ..", "我们的猫"}
    assert all(path.resolve().is_relative_to(tmp_path / "marks") for _, path in marks.pictures())
    assert marks.forget("open") == 2
    with pytest.raises(ModelError, match='no marks of "open"'):
        marks.forget("open")
    assert marks.forget(None) == 2
    assert not (tmp_path / "marks").exists() and marks.all() == [] and marks.forget(None) == 0


@pytest.mark.parametrize("name", ["%2E%2E", "%2e", "käse", "a b!", "%6fpen", "%E4", "a%2Fb"])
def test_what_is_listed_is_erased_however_its_folder_is_named(tmp_path: Path, name: str) -> None:
    """As one that was copied here by hand is; and never more than that, though its label may be `..`."""
    state = tmp_path / "state"
    (state / "marks" / name).mkdir(parents=True)
    (state / "marks" / name / "20260101-000000-1.jpg").write_bytes(b"x")
    (state / "outbox.db").write_bytes(b"events")
    marks = Marks(state)
    marks.add("open", b"x")
    (label,) = {one.label for one in marks.all()} - {"open"} or {"open"}
    assert marks.forget(label) == (2 if label == "open" else 1)
    assert label not in [one.label for one in marks.all()] and not (state / "marks" / name).exists()
    assert (state / "outbox.db").read_bytes() == b"events"
    assert [one.label for one in marks.all()] == ([] if label == "open" else ["open"])


def test_marks_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_module, "MOST_OF_LABEL", 3)
    monkeypatch.setattr(marks_module, "MOST_MARKS", 5)
    monkeypatch.setattr(marks_module, "MOST_LABELS", 3)
    marks = Marks(tmp_path)
    for label in ("a", "a", "a", "b", "c"):
        marks.add(label, b"x")
    for label, said in (("a", '"a" has 3 marks'), ("d", "3 labels have marks"), ("b", "5 marks or 64 MB")):
        with pytest.raises(ModelError, match=said):
            marks.add(label, b"x")
    assert sum(one.count for one in marks.all()) == 5


def test_a_mark_of_bytes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks_module, "MOST_MB", 1)
    marks = Marks(tmp_path)
    marks.add("a", bytes(900_000))
    with pytest.raises(ModelError, match="1000 marks or 1 MB"):
        marks.add("a", bytes(200_000))


def test_what_others_put_there_is_no_mark(tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    kept = marks.add("open", b"x")
    secret = tmp_path / "secret.jpg"
    write_file(secret, b"secret", 0o600)
    kept.with_name("20260101-000000-9.jpg").symlink_to(secret)
    (tmp_path / "marks" / "linked").symlink_to(tmp_path)
    write_file(kept.with_name("notes.txt"), b"x", 0o600)
    assert marks.pictures() == [("open", kept)]
    marks.forget("open")
    assert secret.read_bytes() == b"secret"


# the report


def taught(plan: Plan) -> Taught:
    labels = len(plan.labels)
    figures = {
        "enter": 0.4, "leave": 0.25, "margin": 0.1, "temperature": 1.0, "confusion": [[18, 2], [5, 15]], "named": [15, 12],
        "named_wrong": 3, "others": 900, "others_named": 30, "different": [20, 20], "bank": 900, "left_out": 12,
        "best": [n % labels for n in range(40)], "scores": [n / 40 for n in range(40)],
    }  # fmt: skip
    lost = [Lost(Picture(Path("/open/<b>&\x1b[2J\udc80.jpg"), "open"), "is empty")]
    return Taught(plan, b"", figures, list(plan.pictures), 0, lost)


def test_the_report_is_an_svg_with_every_figure(plan: Plan) -> None:
    svg = to_svg(taught(plan))
    text = " ".join(ElementTree.fromstring(svg).itertext())
    for wanted in ("0.90 (0.70–0.97), 18 of 20", "0.75 (0.53–0.89), 15 of 20", "least sure of", "0.00  open: 0.jpg", "is empty"):
        assert wanted in text
    assert "\x1b" not in svg and svg.encode()


def test_near_copies_count_once_in_the_interval(plan: Plan) -> None:
    """Twenty frames of one moment tell no more than one does: the interval is that of four pictures."""
    one = taught(plan)
    text = " ".join(ElementTree.fromstring(to_svg(replace(one, figures=one.figures | {"different": [4, 20]}))).itertext())
    assert "0.90 (0.42–0.99), 18 of 20, near copies of 4" in text and "0.75 (0.53–0.89), 15 of 20 " in f"{text} "


def test_a_report_of_many_labels_names_the_worst_pairs(plan: Plan) -> None:
    labels = tuple(f"label {n} with a rather long name & more" for n in range(20))
    one = taught(plan)
    confusion = [[0] * 20 for _ in range(20)]
    confusion[3][4] = 7
    figures = one.figures | {"confusion": confusion, "named": [0] * 20, "best": [0] * 40, "different": [0] * 20}
    svg = to_svg(replace(one, plan=replace(plan, labels=labels), figures=figures))
    assert "7 × label 3 with a rather" in " ".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(20, 20, 0.839, 1.0), (0, 20, 0.0, 0.161), (15, 20, 0.531, 0.888), (0, 0, 0.0, 1.0)]
)
def test_wilson_s_interval(right: int, count: int, low: float, high: float) -> None:
    assert to_interval(right, count) == pytest.approx((low, high), abs=0.002)


@pytest.mark.parametrize(
    "lie",
    [
        {"confusion": [[18, 2]]},
        {"confusion": [[18, 2, 0], [5, 15, 0]]},
        {"confusion": [[2**53 - 1, 2], [5, 15]]},
        {"named": [15]},
        {"named": [15, 2**53 - 1]},
        {"different": [20]},
        {"different": [21, 20]},
        {"others_named": 901},
        {"others": 0},
        {"enter": 0, "leave": 0},
        {"leave": 0},
        {"leave": 0.5},
        {"margin": 1},
        {"best": []},
        {"best": [2] * 40},
        {"scores": [0.5] * 39},
    ],
)
def test_figures_that_no_card_could_hold_are_not_believed(plan: Plan, lie: dict[str, object]) -> None:
    """A picture may own the process that teaches: its model would be installed, and its card could not be read."""
    figures = taught(plan).figures
    assert is_consistent(figures, 2, 40)
    assert not is_consistent(figures | lie, 2, 40)
