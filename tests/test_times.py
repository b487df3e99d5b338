"""Spans of time and moments, as people write and read them."""

import datetime as dt

import pytest

from mesh.errors import BadInput
from mesh.times import duration, moment, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30),
        ("5m", 300),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("45", 45),
        ("250ms", 0.25),
    ],
)
def test_a_span_is_read_as_people_write_it(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "s", "5x", "-5s", "5 m", "1e3", "٣s", "nan", "5m30"])
def test_what_is_no_span_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(BadInput, match="is not a duration; write 30s"):
        seconds(text)


def test_a_span_is_written_in_the_unit_that_suits_it() -> None:
    found = [duration(value) for value in (3, 150, 7200, 200_000)]
    assert found == ["3.0 seconds", "2.5 minutes", "2.0 hours", "2.3 days"]


def test_a_moment_is_an_iso_time_or_a_span_before_now() -> None:
    assert moment("2026-01-31") == dt.datetime(2026, 1, 31, tzinfo=dt.UTC)
    before = dt.datetime.now(dt.UTC)
    assert before <= moment("2h") + dt.timedelta(hours=2) <= dt.datetime.now(dt.UTC)
    with pytest.raises(BadInput, match="'noon' is not a time; write 30s"):
        moment("noon")
