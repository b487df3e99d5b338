"""Run requests of the curator: their names, seeds and worker classes. Pure."""

from collections.abc import Iterable
from statistics import fmean

from mesh.board import Board
from mesh.bounds import MAX_KEY, MAX_NUMBER
from mesh.events import Lane, RunRequested
from mesh.fleet import home_class, is_gone
from mesh.run_sums import has_many, open_runs, run_sums

FIRST_SEED = 1
"""Seed of explore runs."""

SEEDS = 1000
"""Seeds per race: those of race `n` begin at `n * SEEDS`. Smaller seeds belong to the baseline and to search."""


def race_of(request: RunRequested) -> int:
    """Return the number of the race that a run belongs to, 0 for none. Old logs show it by the seed alone."""
    return request.race or request.seed // SEEDS


def run_id(proposal: str, lane: Lane, seed: int, version: int) -> str:
    """Return the name of a run. Equal requests have equal names, so that several curators request a run only once."""
    return f"{proposal[:16]}-{lane}-{seed}" + (f"-v{version}" if version > 1 else "")


def request(
    board: Board,
    tree: str,
    lane: Lane,
    seed: int = FIRST_SEED,
    *,
    worker_class: str = "",
    avoid: str = "",
    apart: bool = False,
    race: int = 0,
    repeat: int = 0,
) -> RunRequested:
    """Return the request for a run of a proposal.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        lane: What the run is for.
        seed: The seed of the trial.
        worker_class: The worker class that may take it; "" means the one that the arena names.
        avoid: The boot of a worker that must not take it; "" for none.
        apart: Whether the name of the run includes the worker class.
        race: The number of its race, 0 for none.
        repeat: How many runs of the proposal came to nothing before this one; 0 if it is no repetition.
    """
    assert board.opened is not None
    opened, trial = board.opened, board.opened.spec.trial
    name = run_id(tree, lane, seed, opened.version)
    if apart:
        name = f"{name}-{worker_class}"
    if repeat:
        name = f"{name}-r{repeat}"
    name, not_by = _free_name(board, tree, name)
    return RunRequested(
        run=name,
        lane=lane,
        proposal=tree,
        commit=opened.base_commit if tree == opened.base_tree else board.proposals[tree].event.commit,
        seed=seed,
        budget_s=trial.budget_s,
        deadline_s=trial.deadline_s,
        worker_class=worker_class or opened.spec.worker.class_,
        evaluator=opened.evaluator,
        version=opened.version,
        avoid=avoid,
        race=race,
        thresholds=cascade_thresholds(board) if tree == board.champion else thresholds(board),
        not_by=not_by,
    )


def _free_name(board: Board, tree: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Return a name that no other run has, and the workers that scored runs before it by another evaluator.

    A name is also free where an equal request may have it, whose run counts or will count. A worker hashes what it
    executed: one that hashes something else scores for nothing, so it must not take the run again.
    """
    stem, number, strangers = name[: MAX_KEY - 10], 0, set[str]()
    while (known := board.runs.get(name)) and (known.requested.proposal != tree or not board.is_current(known)):
        done = known.finished
        if done and done.evaluator not in ("", known.requested.evaluator) and (life := board.workers.get(done.worker)):
            strangers.add(life.name)
        number += 1
        name = f"{stem}-again" + (f"{number}" if number > 1 else "")
    return name, tuple(sorted(strangers))


def thresholds(board: Board) -> dict[str, float]:
    """Return what relative thresholds of stages come to now: by the mean of what that proposal got in each stage.

    A champion without such numbers counts as the baseline. A stage without any number has no threshold yet.
    """
    assert board.opened is not None
    found: dict[str, float] = {}
    for stage in board.opened.spec.score.stage:
        if of := stage.refers_to:
            champion = stage_numbers(board, board.champion, stage.name) if of == "champion" and board.champion else []
            if numbers := champion or stage_numbers(board, board.opened.base_tree, stage.name):
                found[stage.name] = stage.relative_to(fmean(numbers))
    return found | cascade_thresholds(board)


def cascade_thresholds(board: Board) -> dict[str, float]:
    """Return the stages of an OpenEvolve cascade whose threshold ends nobody, with a number that all scores reach.

    The champion itself misses them, or the baseline while there is no champion: a candidate that is better would be
    ended, and nothing could ever improve.
    """
    assert board.opened is not None
    found: dict[str, float] = {}
    for place, least in enumerate(board.opened.spec.score.cascade, 1):
        champion = stage_numbers(board, board.champion, f"stage{place}") if board.champion else []
        numbers = champion or stage_numbers(board, board.opened.base_tree, f"stage{place}")
        if numbers and fmean(numbers) < least:
            found[f"stage{place}"] = -MAX_NUMBER
    return found


def stage_numbers(board: Board, tree: str, stage: str) -> list[float]:
    """Return what a proposal got in a stage, by the evaluator in force, in the order of the log."""
    if tree not in board.proposals:
        return []
    if has_many(board, tree):
        kept = run_sums(board, tree).stages.get(stage)
        return [*kept.items] if kept else []
    done = sorted((run for run in board.current_runs(tree) if run.finished), key=lambda run: run.finished_seq)
    ends = [end for run in done if run.finished for end in run.finished.stages]
    return [end.value for end in ends if end.stage == stage and end.value is not None]


def requests(
    board: Board, tree: str, lane: Lane, seeds: Iterable[int], worker_class: str, *, avoid: str = "", race: int = 0
) -> list[RunRequested]:
    """Return requests for the runs that a worker class has not had yet; runs of other classes do not count.

    Args:
        board: The board of the arena.
        tree: The proposal, by its tree hash.
        lane: What the runs are for.
        seeds: The seeds of the trials.
        worker_class: The worker class that may take the runs.
        avoid: The boot of a worker that must not take them; "" for none.
        race: The number of their race; 0 for none.
    """
    taken = requested_seeds(board, tree, worker_class)
    return [
        request(
            board,
            tree,
            lane,
            seed,
            worker_class=worker_class,
            avoid=avoid,
            race=race,
            apart=run_id(tree, lane, seed, board.opened.version if board.opened else 1) in board.runs,
        )
        for seed in seeds
        if seed not in taken
    ]


def requested_seeds(board: Board, tree: str, worker_class: str) -> set[int]:
    """Return the seeds on which a proposal has run or will run in a worker class ("" means any)."""
    runs, ended = board.current_runs(tree), set[int]()
    if has_many(board, tree):
        runs, ended = open_runs(board, tree), run_sums(board, tree).seeds_of.get(worker_class, ended)
    return ended | {
        run.requested.seed
        for run in runs
        if worker_class in ("", run.requested.worker_class, run.finished.worker_class if run.finished else "")
    }


def again(board: Board, tree: str) -> list[RunRequested]:
    """Request, once, a score in the confirming class for a proposal whose scores come from workers that left."""
    home = home_class(board)
    return [] if is_gone(board, home) else requests(board, tree, "explore", [FIRST_SEED], home)
