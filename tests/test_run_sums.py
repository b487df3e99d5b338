"""What is kept up of a proposal with many runs is what a look at all of them gives, to the last bit."""

import random
from collections import Counter

import pytest
from msgspec.structs import replace

from agents.curation.demotion import _controls, _seeds_from
from agents.curation.race_log import _runs_in, runs_in_race, seeds_itself
from agents.curation.run_requests import requested_seeds, stage_numbers
from agents.search.history import History
from mesh.board import Board, Run
from mesh.events import PROOF, AnyEvent
from mesh.evidence import _fresh, _mean, _proofs, claim, fresh, mean_of, proofs
from mesh.fleet import scored_in
from mesh.fresh_scores import Pool, squares
from mesh.run_sums import has_many, run_sums
from mesh.testing import git_hash
from tests.support.history import T1, entries, finish, opened, proposal, request
from tests.support.many_runs import CLASSES, boards


async def no_files(board: Board, tree: str) -> dict[str, bytes]:
    return {}


@pytest.mark.parametrize("seed", range(24))
async def test_all_that_is_kept_up_is_what_a_look_at_all_runs_gives(seed: int) -> None:
    many, history = 0, History(no_files)
    for board in boards(random.Random(seed)):
        for tree, known in board.proposals.items():
            many += has_many(board, tree)
            runs = [run for name in known.runs if board.is_current(run := board.runs[name])]
            ended = [run for run in runs if run.finished]
            assert board.scores(tree) == [run.value for run in ended if run.value is not None]
            assert board.missed(tree) == next((run.missed for run in ended if run.missed), None)
            assert claim(board, tree) == _mean([run for run in runs if run.requested.lane not in PROOF], "")
            assert scored_in(board, tree) == Counter(
                run.finished.worker_class for run in ended if run.finished and run.value is not None
            )
            for name in ("", *CLASSES, "other"):
                assert list(fresh(board, tree, name).items()) == list(_fresh(board, tree, name).items())
                assert proofs(board, tree, name) == _proofs(board, tree, name)
                assert mean_of(board, tree, name) == _mean(runs, name)
                assert requested_seeds(board, tree, name) == {
                    run.requested.seed for run in runs if name in classes_of(run)
                }
                for race in (1, 2):
                    assert runs_in_race(board, tree, race, name) == _runs_in(race, _proofs(board, tree, name))
                if tree == board.champion:
                    controls = [run for run in ended if run.requested.lane == "control" and run.value is not None]
                    controls = [run for run in controls if run.finished and name in ("", run.finished.worker_class)]
                    assert dict(_controls(board, name)) == {run.requested.seed: run.value for run in controls}
            assert _seeds_from(board, tree, 1500) == sum(run.requested.seed >= 1500 for run in runs)
            assert seeds_itself(board, tree) == any(
                run.finished.own_seeds > 0 for run in ended if run.finished and run.requested.lane in PROOF
            )
            done = sorted(ended, key=lambda run: run.finished_seq)
            told = [end.value for run in done if run.finished for end in run.finished.stages]
            assert stage_numbers(board, tree, "s") == told
        read = await history.read(board)
        for trial in read.trials:
            kept = [run for run in board.current_runs(trial.tree) if run.finished]
            times = [run.finished.trial_s for run in kept if run.finished and run.requested.lane == "explore"]
            assert trial.seconds == sum(times)
        assert len(read.every) == len(board.proposals)
    assert many > 60


def classes_of(run: Run) -> tuple[str, ...]:
    """Return the worker classes that a run belongs to; "" is all of them."""
    return "", run.requested.worker_class, run.finished.worker_class if run.finished else ""


def test_scores_that_were_returned_do_not_change_when_the_next_run_ends() -> None:
    board = Board(arena="a")
    facts: list[tuple[str, AnyEvent]] = [("operator", opened()), ("ann", proposal(T1))]
    for number in range(20):
        asked = replace(request(f"r{number}", T1, number), lane="control")
        facts += [("curator", asked), ("w", finish(f"r{number}", T1, float(number)))]
    before: list[tuple[dict[int, float], object]] = []
    for entry in entries(facts):
        board.fold(entry)
        if T1 in board.proposals:
            found = fresh(board, T1)
            before.append((dict(found), found))
    assert len(run_sums(board, T1).fresh[""].scores) == 20
    assert all(copy == found for copy, found in before)


@pytest.mark.parametrize("seed", range(20))
def test_sums_of_squares_do_not_depend_on_the_order_in_which_scores_come_and_go(seed: int) -> None:
    dice = random.Random(seed)
    trees = {git_hash(str(n)): [dice.gauss(1e6 * (n % 3), 1e-3) for _ in range(dice.randrange(6))] for n in range(12)}
    rows = [(tree, value) for tree, values in trees.items() for value in values]
    gone = dice.choice(list(trees))
    pools = [Pool(), Pool()]
    for number, pool in enumerate(pools):
        placed = [*enumerate(rows)]
        dice.shuffle(placed)
        for seq, (tree, value) in placed:
            if tree != gone or number:
                pool.add(tree, (seq, "cpu", seq, value))
    pools[1].drop(gone)
    assert pools[0].spread("cpu", "") == pools[1].spread("cpu", "")
    for left_out in trees:
        assert pools[0].spread("cpu", left_out) == pools[1].spread("cpu", left_out)
    assert squares([0.1] * 7) == (0.0, 6)


def test_what_seeds_share_is_estimated_from_the_latest_scores() -> None:
    dice, many, few = random.Random(1), Pool(most=80), Pool(most=80)
    for number in range(400):
        seed, tree = number % 20, str(number // 20)
        row = (number, "cpu", seed, seed + dice.gauss(0, 0.1))
        many.add(tree, row)
        if number >= 320:
            few.add(tree, row)
    found = many.seeds("cpu", "")
    assert found == few.seeds("cpu", "")
    assert found
    assert found.correlation > 0.9
