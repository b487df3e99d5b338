"""How the curator asks for runs: their names, their words, and the class of workers that proves. Pure."""

from collections import Counter

from mesh.board import Board
from mesh.events import Lane, RunRequested, WorkerJoined

FIRST_SEED = 1


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
) -> RunRequested:
    """Ask for a run of a proposal; `apart` names its worker class in the name too."""
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
    )


def slots(board: Board) -> Counter[str]:
    """Return the slots of the workers that are there, by class."""
    latest = {member.name: member for member in board.workers.values()}
    found: Counter[str] = Counter()
    for member in latest.values():
        if not member.left and isinstance(member.joined, WorkerJoined):
            found[member.joined.worker_class] += member.joined.slots
    return found


def home_class(board: Board) -> str:
    """Return the class in which proof is sought, "" where nothing tells.

    It is the arena's own; else, of the classes that are there, the one in which the champion has most scores, or that
    with most slots; where nobody is there, the champion's.
    """
    if board.spec.worker.class_ != "any":
        return board.spec.worker.class_
    runs = board.current_runs(board.champion) if board.champion else []
    proven = Counter(run.finished.worker_class for run in runs if run.finished and run.value is not None)
    there = slots(board)
    if there:
        return max(sorted(there), key=lambda name: (proven[name], there[name]))
    return max(sorted(proven), key=lambda name: proven[name], default="")
