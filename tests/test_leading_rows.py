"""The first rows of the leaderboard that are kept up are those of a walk, at every point of any history."""

import pytest

from mesh import events as e
from mesh.board import Board
from mesh.leaderboard import Ranking
from mesh.leading_rows import LeadingRanking, leading_rows
from mesh.testing import SPEC, git_hash, opened, requested, run_of
from tests.support.history import proposal
from tests.test_leaderboard_contract import History, logged


@pytest.mark.parametrize("seed", range(60))
def test_the_first_rows_are_those_of_a_walk(seed: int) -> None:
    board = Board(arena="a")
    for entry in logged("a", History(seed).told):
        board.fold(entry)
        if board.opened and entry.seq % 7 == seed % 7:
            kept, rows = LeadingRanking(board), Ranking(board).rows()
            assert kept.count() == len(rows)
            assert kept.first(3) == rows[:3]
            assert kept.first(len(rows) + 1) == rows
            assert kept.places == Ranking(board).places


def test_an_update_that_is_cut_off_or_overtaken_loses_nothing() -> None:
    board = board_of(500)
    cut, slow = leading_rows(board).update(board), leading_rows(board).update(board)
    next(cut)
    cut.close()
    next(slow)
    assert LeadingRanking(board).first(500) == Ranking(board).rows()
    assert list(slow) == []
    assert LeadingRanking(board).count() == 500


def board_of(count: int) -> Board:
    """Return a board with so many proposals that have a score."""
    told: list[tuple[str, e.AnyEvent]] = [("ann", opened(SPEC, "c" * 40, "b" * 40))]
    for number in range(count):
        name, outcome = f"p{number}", e.Scored(value=number % 17)
        ended = e.RunFinished(
            run=run_of(name),
            proposal=git_hash(name),
            outcome=outcome,
            worker="w",
            worker_class="cpu",
        )
        told += [("ann", proposal(git_hash(name))), ("ann", requested(name)), ("w", ended)]
    board = Board(arena="a")
    for entry in logged("a", told):
        board.fold(entry)
    return board
