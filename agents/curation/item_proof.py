"""Proof over items: which runs are compared item by item, and how strictly one run per side is judged.

Where a metric is a mean over fixed items and another seed changes none of them, one run per side proves: more seeds add
nothing, more items would. A challenger and the champion are compared in pairs of items, clustered where items belong
together. If search and proof have the same items, the claim and the proof are one number; then every candidate that was
judged counts as a test (Bonferroni), because the best of many is lucky.
"""

import math

from agents.curation.race_log import current_race, entrants_of, members_of, runs_in_race
from mesh.board import Board, Run
from mesh.errors import ObjectMissing
from mesh.events import PROOF, ItemsCompared
from mesh.evidence import evidence_state, proofs
from mesh.fleet import home_class
from mesh.item_evidence import have_same_items, is_compared, item_pairs, repeats
from mesh.items import ItemScores, match, spread_of_difference
from mesh.remembered import Remembered


def pairs_to_compare(board: Board) -> list[tuple[Run, Run]]:
    """Return the runs of the present race whose items are still to be compared with the champion's."""
    if not board.champion or not has_items(board):
        return []
    worker_class, race = home_class(board), current_race(board)
    champion = proofs(board, board.champion, worker_class)
    found = []
    for tree in members_of(board, race):
        found += item_pairs(runs_in_race(board, tree, race, worker_class), champion)
    return [pair for pair in found if not is_compared(*pair)]


def has_items(board: Board) -> bool:
    """Tell whether the metric is a mean over items."""
    return board.opened is not None and board.spec.objective.noise == "items"


def compared(board: Board, one: Run, other: Run, items: tuple[ItemScores, ItemScores] | ObjectMissing) -> ItemsCompared:
    """Return the fact that two runs were compared.

    Args:
        board: The board of the arena.
        one: A run with items.
        other: A run of another proposal.
        items: The items of both; or why they cannot be read, and then the comparison proves nothing.
    """
    run, over = one.requested.run, other.requested.run
    if isinstance(items, ObjectMissing):
        return ItemsCompared(run=run, over=over, text=str(items))
    is_fixed = one.requested.seed == other.requested.seed or one_run_proves(board, home_class(board))
    paired = match(*items, same_seed=is_fixed)
    spread = spread_of_difference(*items, paired=paired)
    means = [math.fsum(each.values) / len(each.values) for each in items]
    return ItemsCompared(
        run=run,
        over=over,
        common=len(items[0].values) if paired else 0,
        difference=means[0] - means[1],
        error=spread.error if math.isfinite(spread.error) else None,
        dof=spread.dof,
    )


def one_run_proves(board: Board, worker_class: str) -> bool:
    """Tell whether the log shows that another seed changes no item."""
    return _repeats.of(board, evidence_state(board), worker_class, lambda: _repeats_now(board, worker_class))


_repeats: Remembered[bool] = Remembered()


def _repeats_now(board: Board, worker_class: str) -> bool:
    return repeats(run for tree in _proven(board) for run in proofs(board, tree, worker_class))


def bar_over_items(board: Board, race: int, whole: float, worker_class: str) -> float:
    """Return the level at which the best challenger of a race is tested after its one run.

    Args:
        board: The board of the arena.
        race: The number of the race.
        whole: The level of the race.
        worker_class: The confirming worker class.
    """
    tests = len(entrants_of(board, race))
    if searches_on_proof(board, worker_class):
        tests = max(tests, len(board.judged))
    return whole / max(1, tests)


def searches_on_proof(board: Board, worker_class: str) -> bool:
    """Tell whether the items of search are those of proof, by the runs of the baseline and the champion."""
    for tree in dict.fromkeys((board.opened.base_tree if board.opened else "", board.champion)):
        claims = [run for run in board.current_runs(tree) if run.requested.lane not in PROOF] if tree else []
        for claimed in claims:
            if any(_are_one(claimed, run) for run in proofs(board, tree, worker_class)):
                return True
    return False


def items_in(runs: list[Run], champion: list[Run]) -> str:
    """Return in words on how many items the runs of a challenger were compared with the champion's."""
    pairs = item_pairs(runs, champion)
    found = [a.compared_with(b) or b.compared_with(a) for a, b in pairs]
    common = max((each.common for each in found if each), default=0)
    kept = [run.finished.items for run in runs if run.finished and run.finished.items]
    clusters = f" in {kept[0].clusters:,} clusters" if kept and kept[0].clusters else ""
    if common:
        return f"{common:,} common items{clusters}"
    return f"{kept[0].count if kept else 0:,} items{clusters} that are not those of the champion"


def _are_one(claimed: Run, run: Run) -> bool:
    mine, theirs = (each.finished.items if each.finished else None for each in (claimed, run))
    return bool(mine and theirs and (mine.sha256 == theirs.sha256 or have_same_items(claimed, run)))


def _proven(board: Board) -> dict[str, None]:
    trees = (board.runs[name].requested.proposal for name in board.proofs)
    return dict.fromkeys(tree for tree in trees if tree in board.proposals)
