"""The runs of a proposal that count are kept up run by run, and are those that a look at all of them finds."""

import random

import msgspec
import pytest

from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import AnyEvent, Failed, RunKilled
from mesh.testing import content_hash
from tests.support.history import T1, T2, entries, finish, opened, proposal, request


def drawn(dice: random.Random) -> list[tuple[str, AnyEvent]]:
    """Return a history of two proposals with many runs, which end in any order and under several evaluators."""
    facts: list[tuple[str, AnyEvent]] = [("operator", opened()), ("ann", proposal(T1)), ("ann", proposal(T2))]
    version, waiting = 1, dict[str, str]()
    for number in range(120):
        draw = dice.random()
        if draw < 0.5:
            run, tree = f"r{number}", dice.choice((T1, T1, T2))
            waiting[run] = tree
            facts.append(("curator", request(run, tree, number)))
        elif draw < 0.93 and waiting:
            run = dice.choice(list(waiting))
            outcome = Failed(reason="crash", message="") if dice.random() < 0.3 else dice.random()
            evaluator = dice.choice(("", "", content_hash("ev"), content_hash("other")))
            facts.append(("w", msgspec.structs.replace(finish(run, waiting.pop(run), outcome), evaluator=evaluator)))
        elif draw < 0.97 and waiting:
            facts.append(("curator", RunKilled(run=dice.choice(list(waiting)), by="rule")))
        else:
            version += 1
            facts.append(("operator", opened(version, dice.choice(("ev", "other")))))
    return facts


@pytest.mark.parametrize("seed", range(30))
def test_runs_that_count_are_those_that_a_look_at_all_of_them_finds_after_every_fact(seed: int) -> None:
    board, dice = Board(arena="a"), random.Random(seed)
    most = 0
    for entry in entries(drawn(dice)):
        board.fold(entry)
        if dice.random() < 0.02:
            copied = from_bytes(to_bytes(board))
            assert copied
            board = copied
        for tree, known in board.proposals.items():
            expected = [run for name in known.runs if board.is_current(run := board.runs[name])]
            assert board.current_runs(tree) == expected
            most = max(most, len(known.runs))
    assert most > 20
