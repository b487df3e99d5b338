"""What `mesh check` says about times, and about runs that end by the clock."""

import pytest

from mesh.events import Scored
from mesh_cli.setup.check_facts import ArenaFacts
from mesh_cli.setup.check_oddities import check_warnings
from mesh_cli.setup.check_result import BaselineRun, Checked


@pytest.mark.parametrize(
    ("metric", "scores", "load", "said"),
    [
        ("best_s", (0.03, 0.081), 12.5, "differ by 170%: other programs use this machine (load 12.5 on 2 cores)"),
        ("best_s", (0.03, 0.081), 0.1, "differ by 170%: something else uses this machine, or it is short"),
        ("best_s", (0.03, 0.031), 12.5, ""),
        ("val_loss", (0.03, 0.081), 12.5, ""),
    ],
)
def test_a_check_says_that_times_of_the_same_program_differ(
    metric: str, scores: tuple[float, float], load: float, said: str
) -> None:
    ended = tuple(BaselineRun(seed, Scored(value=value), 1.0, 0.0) for seed, value in enumerate(scores, 1))
    told = check_warnings(Checked("a", metric, ended, (), exclusive=True, load=load, cores=2))
    assert [sentence for sentence in told if "the same program" in sentence] == told
    assert len(told) == bool(said)
    assert said in "".join(told)


@pytest.mark.parametrize(
    ("counts", "slots", "shares_cores", "warned"),
    [("wall", 2, True, True), ("wall", 1, True, False), ("wall", 2, False, False), ("cpu", 2, True, False)],
)
def test_a_check_says_that_runs_which_end_by_the_clock_share_the_cores(
    counts: str, slots: int, shares_cores: bool, warned: bool
) -> None:
    done = Checked(
        "a", "val_bpb", (), (), slots=slots, shares_cores=shares_cores, facts=ArenaFacts(budget_counts=counts)
    )
    assert [sentence.partition(" (")[0] for sentence in check_warnings(done)] == (
        ["runs are limited by the clock"] if warned else []
    )
