"""Tables for terminals of any width."""

import pytest

from edged.system.table import to_table

HEADINGS = ("candidate", "p95 ms\nmeasured", "file\nMB", "why not")
ROWS = [
    ["home_1.0_192", "3.078", "4.565", ""],
    ["home_1.0_160", "", "4.565", "not needed: home_1.0_192 names as many for certain and fits"],
]


def test_where_all_of_it_fits_it_is_lined_up() -> None:
    assert to_table(HEADINGS, ROWS, 120) == [
        "              p95 ms    file",
        "candidate     measured  MB     why not",
        "home_1.0_192  3.078     4.565",
        "home_1.0_160            4.565  not needed: home_1.0_192 names as many for certain and fits",
    ]


def test_the_last_column_takes_several_lines_before_anything_else_gives_way() -> None:
    assert to_table(HEADINGS, ROWS, 64)[3:] == [
        "home_1.0_160            4.565  not needed: home_1.0_192 names as",
        "                               many for certain and fits",
    ]


def test_where_the_columns_do_not_fit_they_are_told_below_the_name() -> None:
    assert to_table(HEADINGS, ROWS, 40) == [
        "home_1.0_192",
        "  p95 ms measured: 3.078, file MB: 4.565",
        "home_1.0_160",
        "  file MB: 4.565, why not: not needed:",
        "  home_1.0_192 names as many for certain",
        "  and fits",
    ]


@pytest.mark.parametrize("width", [1, 20, 40, 64, 80, 100, 300])
def test_nothing_is_cut_at_any_width(width: int) -> None:
    said = " ".join(to_table(HEADINGS, ROWS, width)).split()
    for row in ROWS:
        for word in " ".join(row).split():
            assert any(word in one for one in said), (word, said)
    assert all(len(line) <= max(width, 20) for line in to_table(HEADINGS, ROWS, width))


def test_no_row_is_headings_alone() -> None:
    assert to_table(("name", "px"), [], 80) == ["name  px"]
