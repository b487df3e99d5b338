"""How the curator asks for runs: their names, their words, and the class of workers that proves. Pure."""

from collections.abc import Iterable

from mesh.board import Board
from mesh.events import Lane, RunRequested
from mesh.fleet import home_class, is_gone

FIRST_SEED = 1

SEEDS = 1000
"""Seeds of one race: those of race `n` begin at `n * SEEDS`; those below are of the baseline and of search."""


def race_of(asked: RunRequested) -> int:
    """Return the number of the race that a run belongs to, 0 for none; old logs say it by the seed alone."""
    return asked.race or asked.seed // SEEDS


def run_id(proposal: str, lane: Lane, seed: int, version: int) -> str:
    """Return the name of a run; the same question has the same name, whoever asks."""
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
) -> RunRequested:
    """Ask for a run of a proposal.

    Args:
        board: The board to ask on.
        tree: The proposal.
        lane: What the run is for.
        seed: The seed of the trial.
        worker_class: The class of workers that may take it; "" is the one that the arena names.
        avoid: The boot of a worker that must not take it, "" for none.
        apart: Whether the run's name says the worker class too.
        race: The number of its race, 0 for none.
    """
    assert board.opened is not None
    opened, trial = board.opened, board.opened.spec.trial
    name = run_id(tree, lane, seed, opened.version)
    return RunRequested(
        run=f"{name}-{worker_class}" if apart else name,
        lane=lane,
        proposal=tree,
        commit=board.proposals[tree].event.commit,
        seed=seed,
        budget_s=trial.budget_s,
        deadline_s=trial.deadline_s,
        worker_class=worker_class or opened.spec.worker.class_,
        evaluator=opened.evaluator,
        version=opened.version,
        avoid=avoid,
        race=race,
    )


def requests(
    board: Board, tree: str, lane: Lane, seeds: Iterable[int], worker_class: str, *, avoid: str = "", race: int = 0
) -> list[RunRequested]:
    """Ask for runs in a class of workers, each once: a run of another class answers another question."""
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
        if seed not in asked_in(board, tree, worker_class)
    ]


def asked_in(board: Board, tree: str, worker_class: str) -> set[int]:
    """Return the seeds with which a proposal was run, or is to be run, in a class of workers ("" is any)."""
    return {
        run.requested.seed
        for run in board.current_runs(tree)
        if worker_class in ("", run.requested.worker_class, run.finished.worker_class if run.finished else "")
    }


def again(board: Board, tree: str) -> list[RunRequested]:
    """Ask for a score where proof is sought, of a proposal whose scores are of workers that are gone; once."""
    home = home_class(board)
    return [] if is_gone(board, home) else requests(board, tree, "explore", [FIRST_SEED], home)
