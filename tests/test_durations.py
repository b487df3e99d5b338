"""Spans of time as people write them."""

import pytest

from mesh.errors import BadInput
from mesh_cli.render.durations import seconds


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
    with pytest.raises(BadInput, match="is no span of time: write it as 30s"):
        seconds(text)
