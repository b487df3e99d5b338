"""Tables of the terminal: what is cut and what vanishes where there is little room."""

import pytest

from mesh_cli.render.columns import Column, aligned, cell_width, cut_cell

COLUMNS = [
    Column("rank", right=True),
    Column("seeds", right=True, rank=2),
    Column("state", rank=1),
    Column("title", fills=True),
]
ROWS = [["1", "3", "champion", "a title that is rather long 漢字漢字"], ["12", "4", "open", "short"]]


def test_a_pipe_gets_everything() -> None:
    assert aligned(COLUMNS, ROWS, None) == [
        "rank seeds state    title",
        "   1     3 champion a title that is rather long 漢字漢字",
        "  12     4 open     short",
    ]


def test_the_title_gets_what_is_left_and_the_least_important_go_first() -> None:
    assert aligned(COLUMNS, ROWS, 42)[1] == "   1     3 champion a title that is rathe…"
    assert aligned(COLUMNS, ROWS, 36)[1] == "   1 champion a title that is rathe…"
    assert aligned(COLUMNS, ROWS, 30)[1] == "   1 a title that is rather l…"


@pytest.mark.parametrize("width", range(1, 70))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(cell_width, aligned(COLUMNS, ROWS, width))) <= width


def test_wide_characters_count_twice() -> None:
    assert cell_width("漢字e\u0301") == 5
    assert cut_cell("漢字漢字", 6) == "漢字…"
    assert cut_cell("漢字漢字", 8) == "漢字漢字"
