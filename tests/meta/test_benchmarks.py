"""The pure parts of the benchmarks: ratios, where they must be, and the tables made of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import figures  # noqa: E402 - benchmarks are no part of the package
from benchmarks.rows import CASES, ROWS, SHORT, WHY_MISSED  # noqa: E402
from benchmarks.stub import page_of, replies  # noqa: E402
from benchmarks.table import Place, Results, Row, formatted, measured, ratio_of, table, times_text  # noqa: E402

RESULTS: Results = {
    "call": {
        "ours": {"seconds": [1.0, 2.0, 4.0], "rate": [10.0]},
        "theirs": {"seconds": [3.0, 6.0, 40.0], "rate": [5.0]},
    }
}
OURS, THEIRS = Place("call", "ours"), Place("call", "theirs")


def test_a_result_is_the_median_of_the_ratios_of_each_round() -> None:
    """What both sides of a round met, such as a slow machine, does not count."""
    found = measured(Row("", THEIRS, OURS), RESULTS)
    assert found is not None
    assert (found.result, found.value, found.base, found.met) == (3.0, 6.0, 2.0, None)


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("", THEIRS, OURS, at_least=3.0), True),
        (Row("", THEIRS, OURS, at_least=3.1), False),
        (Row("", OURS, THEIRS, at_most=0.34), True),
        (Row("", OURS, THEIRS, at_most=0.33), False),
        (Row("", OURS, at_most=2.0), True),
        (Row("", OURS, at_most=1.9), False),
    ],
)
def test_a_row_says_whether_it_is_where_it_must_be(row: Row, met: bool) -> None:
    """Bounds are for the ratio, or for the value of a row that is not over another."""
    found = measured(row, RESULTS)
    assert found is not None
    assert found.met is met


def test_a_missed_target_is_visible_in_the_table() -> None:
    """It has the bound and a bold no."""
    (line,) = table([Row("a call", THEIRS, OURS, at_least=3.5)], RESULTS).splitlines()[2:]
    assert line == "| a call | theirs | ours | 3.00 | 6 s / 2 s | at least 3.5 | **no** |"


def test_what_was_not_measured_is_said_to_be_so() -> None:
    """A run of some cases alone leaves the others out, not blank."""
    assert "not measured" in table([Row("", Place("other", "ours"), OURS, at_least=1.0)], RESULTS)


def test_who_has_half_the_rate_is_twice_as_slow() -> None:
    """Rates and times are compared alike."""
    assert ratio_of(Place("call", "theirs", "rate"), Place("call", "ours", "rate"), RESULTS) == 2.0
    assert ratio_of(THEIRS, OURS, RESULTS) == 3.0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.234, "s", "1.23 s"),
        (0.0456, "s", "45.6 ms"),
        (8.3e-7, "s", "0.83 us"),
        (29_900_000.0, "bytes", "29.9 MB"),
        (1234.5, "/s", "1,234/s"),
        (5.0, "", "5"),
    ],
)
def test_values_have_units_that_suit_their_size(value: float, unit: str, text: str) -> None:
    """Three digits are as much as a measurement holds."""
    assert formatted(value, unit) == text


def test_ratios_have_no_more_digits_than_they_hold() -> None:
    """Large ratios are rounded."""
    assert [times_text(ratio) for ratio in (0.256, 9.876, 98.76, 987.6)] == ["0.26", "9.88", "98.8", "988"]


def test_every_row_compares_what_its_case_measures() -> None:
    """No row names a contender that its case leaves out."""
    places = [place for row in ROWS for place in (row.measured, row.base) if place and place.case != "poll"]
    assert [place for place in places if place.contender not in CASES[place.case]] == []


def test_titles_with_reasons_and_short_rows_are_rows() -> None:
    """What is explained or shown elsewhere is in the table."""
    assert {*SHORT, *WHY_MISSED} <= {row.title for row in ROWS}


def test_the_stub_pages_as_mlflow_does() -> None:
    """A search gives as many runs as the experiment's id says, and a token while there are more."""
    reply = replies()
    seen, token = 0, ""
    while True:
        asked = {"experiment_ids": ["25"], "max_results": 10, "page_token": token}
        body = json.loads(reply(b"/api/2.0/mlflow/runs/search", json.dumps(asked).encode()).partition(b"\r\n\r\n")[2])
        seen += len(body["runs"])
        token = body.get("next_page_token", "")
        if not token:
            break
    assert seen == 25
    assert json.loads(page_of(2, "7"))["next_page_token"] == "7"


def test_missed_targets_are_listed_with_their_reason() -> None:
    """The page of the benchmarks ends with what is not where it must be."""
    row = next(row for row in ROWS if row.at_least is not None and row.base is not None)
    assert row.base is not None
    place, base = row.measured, row.base
    assert row.title in figures.missed(
        {place.case: {place.contender: {place.what: [1.0]}, base.contender: {base.what: [1.0]}}}
    )
    assert figures.missed({}) == "Nothing."
