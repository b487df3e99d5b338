"""The fleet: which workers and agents are present, how many slots they have, and how many runs may wait. Pure."""

from collections import Counter

from mesh.board import Board, Run
from mesh.events import AgentJoined, WorkerJoined


def agents_here(board: Board, role: str) -> dict[str, AgentJoined]:
    """Return the agents of a role that have joined and not left, by name."""
    here = ((member.name, member.joined) for member in board.agents.values() if not member.left)
    return {name: joined for name, joined in here if isinstance(joined, AgentJoined) and joined.role == role}


def is_gone(board: Board, worker_class: str) -> bool:
    """Tell whether a worker class has no worker, while other classes have some."""
    return worker_class not in ("", "any") and bool(present := slots(board)) and worker_class not in present


def is_awaited(board: Board, run: Run) -> bool:
    """Tell whether a run is unfinished and some worker can still finish it."""
    return run.finished is None and not is_gone(board, run.requested.worker_class)


def slots(board: Board) -> Counter[str]:
    """Return the slots of the present workers, by worker class."""
    latest = {member.name: member for member in board.workers.values()}
    found: Counter[str] = Counter()
    for member in latest.values():
        if not member.left and isinstance(member.joined, WorkerJoined):
            found[member.joined.worker_class] += member.joined.slots
    return found


def home_class(board: Board) -> str:
    """Return the confirming class: the worker class in which races and control runs take place; "" if unknown.

    It is the class that the arena names. Else it is the present class in which the champion has most scores, or else
    the one with most slots. Without any worker it is the class in which the champion has most scores.
    """
    if board.spec.worker.class_ != "any":
        return board.spec.worker.class_
    runs = board.current_runs(board.champion) if board.champion else []
    proven = Counter(run.finished.worker_class for run in runs if run.finished and run.value is not None)
    present = slots(board)
    if present:
        return max(sorted(present), key=lambda name: (proven[name], present[name]))
    return max(sorted(proven), key=lambda name: proven[name], default="")


def queue_depth(board: Board) -> int:
    """Return the limit of unfinished runs: twice the slots of the present workers, at least 2."""
    return max(2, 2 * slots(board).total())
