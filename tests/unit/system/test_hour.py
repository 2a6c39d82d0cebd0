"""The ring of the last hour: what is put in comes out, oldest first, and never grows beyond its bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.system.hour import ROWS, Hour, HourRow, read_rows

labels = st.sampled_from(["cat", "dog", "person", "unknown", "none", "Grüße", "x" * 60])
rows = st.builds(
    HourRow,
    second=st.integers(0, 2**32 - 1),
    looks=st.integers(0, 255),
    state=st.sampled_from(["ok", "starting", "lost", "frozen", "paused"]),
    scores=st.dictionaries(labels, st.floats(0, 1, width=16), max_size=3),
    said=labels,
    latency_ms=st.none() | st.floats(0, 60_000, width=16),
    temperature_c=st.none() | st.floats(-40, 120, width=32),
)


@given(st.lists(rows, max_size=60), st.integers(1, 20))
def test_the_last_rows_come_out_as_they_went_in(put: list[HourRow], size: int) -> None:
    hour = Hour(size)
    for row in put:
        hour.add(row)
    assert read_rows(hour.to_dict()) == put[-size:]


def test_an_hour_and_all_names_of_a_large_model_stay_below_300_kb() -> None:
    hour = Hour()
    for second in range(2 * ROWS):
        scores = {f"{'a longer name of a thing ' * 2}{(second + n) % 1001}": 0.3 for n in range(3)}
        hour.add(HourRow(second, 5, "ok", scores, "unknown", 20.0, 55.0))
    assert hour.size_bytes <= 300_000
    found = read_rows(hour.to_dict())
    assert [row.second for row in found] == list(range(ROWS, 2 * ROWS))
    assert [row.second for row in read_rows(hour.to_dict(since=2 * ROWS - 3))] == [2 * ROWS - 2, 2 * ROWS - 1]
    hour.forget()
    assert hour.size_bytes == 0 and read_rows(hour.to_dict()) == []


@pytest.mark.parametrize("told", [{}, {"rows": "é", "labels": []}, {"rows": "AAAA", "labels": []}, {"rows": 3, "labels": []}])
def test_what_is_no_hour_is_refused(told: dict) -> None:
    with pytest.raises(ValueError, match="no rows"):
        read_rows(told)
