"""The runs of a proposal that count are kept up run by run, and are those that a look at all of them finds."""

import random

import pytest

from tests.support.many_runs import boards


@pytest.mark.parametrize("seed", range(30))
def test_runs_that_count_are_those_that_a_look_at_all_of_them_finds_after_every_fact(seed: int) -> None:
    most = 0
    for board in boards(random.Random(seed)):
        for tree, known in board.proposals.items():
            expected = [run for name in known.runs if board.is_current(run := board.runs[name])]
            assert board.current_runs(tree) == expected
            most = max(most, len(known.runs))
    assert most > 20
