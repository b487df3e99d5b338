"""A score without noise is exact on its cases: cards, last lines, diff and report say so, and count no seeds."""

import pytest
from msgspec.structs import replace

from analytics.report.headline import seeds_agree
from gateway.resolve import Named
from mesh.events import RunFinished, Scored
from mesh.exactness import exact_on, exact_sentence
from mesh.leaderboard import Ranking
from mesh.testing import SPEC, Log, git_hash
from mesh_cli.live.headline import progress_line
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about
from mesh_cli.proposals.diff import metric_of


def scored(log: Log, tree: str, *values: float, **others: float) -> None:
    """Confirm a proposal with these scores on fresh seeds, after a claim of the first one."""
    for seed, value in enumerate((values[0], *values), 1):
        run = log.request(tree, seed=seed, lane="explore" if seed == 1 else "confirm")
        outcome = Scored(value=value, metrics={"loss": value, **others})
        log.add("w", RunFinished(run=run, proposal=git_hash(tree), outcome=outcome, worker="w", worker_class="cpu"))


def arena(*values: float, noise: str = "measured", kind: type[Log] = Log, **others: float) -> Log:
    """An arena whose champion was confirmed with these scores."""
    log = kind(replace(SPEC, objective=replace(SPEC.objective, noise=noise)))
    log.open(tree="base")
    log.propose("base", how="baseline")
    scored(log, "base", *(value + 1 for value in values), **others)
    log.propose("best")
    scored(log, "best", *values, **others)
    log.promote("best", mean=values[0])
    return log


@pytest.mark.parametrize(
    ("log", "where"),
    [
        (arena(0.5, 0.5, 0.5, 0.5, cases=120), "exact on these 120 cases"),
        (arena(0.5, 0.5, 0.5, 0.5), "exact on the same cases"),
        (arena(0.5, 0.5, 0.5, 0.5, cases=120, rows=7), "exact on the same cases"),
        (arena(0.5, noise="none", test_items=120), "taken as exact on these 120 items"),
        (arena(0.5, 0.5, 0.5, 0.6, cases=120), ""),
        (arena(0.5, 0.5, 0.5, 0.5, noise="items"), ""),
    ],
)
def test_what_an_exact_score_holds_for_is_said_and_noise_says_nothing(log: Log, where: str) -> None:
    assert exact_on(log.board) == where
    assert exact_sentence(log.board).startswith(f"the champion's score is {where}:" if where else "")
    assert bool(exact_sentence(log.board)) == bool(where)


def test_a_card_and_a_comparison_count_no_seeds_where_seeds_do_nothing() -> None:
    log = arena(0.5, 0.5, 0.5, 0.5, cases=120)
    [state] = [line for line in card(log.board, about(log.board, Named("proposal", git_hash("best"))))
               if line.startswith("state:")]  # fmt: skip
    assert "exact on these 120 cases; it says nothing about others; gain +1.0000 over the baseline 1.5000" in state
    assert "fresh seed" not in state
    text = metric_of(log.board, git_hash("base"), git_hash("best")).text
    assert text == "exact on these 120 cases on cpu; it says nothing about others"
    noisy = arena(0.5, 0.51, 0.52, 0.6)
    [state] = [line for line in card(noisy.board, about(noisy.board, Named("proposal", git_hash("best"))))
               if line.startswith("state:")]  # fmt: skip
    assert "confirmed on 4 fresh seeds; gain " in state


@pytest.mark.parametrize(
    ("rows", "exact"),
    [([["cpu", 2, 8, 6, 0.0]], True), ([["cpu", 2, 8, 6, 0.1]], False), ([["cpu", 1, 2, 1, 0.0]], False), ([], False)],
)
def test_a_report_tells_exact_scores_by_their_noise(rows: list[list[object]], exact: bool) -> None:
    assert seeds_agree(rows) == exact


def test_a_gain_over_a_baseline_that_has_one_run_is_not_counted() -> None:
    log = Log(SPEC)
    log.open(tree="base")
    log.propose("base", how="baseline")
    log.score("base", 0.4)
    log.propose("best")
    scored(log, "best", 0.5, 0.6, 0.4, 0.5)
    log.promote("best", mean=0.5)
    line = progress_line(log.board, Ranking(log.board), 1.0, None)
    assert "gain over the baseline 0.4000 not known: that is one run" in line
    alone = Log(SPEC)
    alone.open(tree="base")
    alone.propose("base", how="baseline")
    scored(alone, "base", 0.5, 0.6, 0.4)
    alone.promote("base", mean=0.5)
    assert progress_line(alone.board, Ranking(alone.board), 1.0, None).startswith(
        "best loss 0.5000 ± 0.1299 (the baseline), "
    )
    counted = progress_line((again := arena(0.5, 0.6, 0.4)).board, Ranking(again.board), 1.0, None)
    assert "gain +1.0000 over the baseline in runs side by side" in counted
