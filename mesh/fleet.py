"""The fleet: which workers and agents are there, how many slots they have, and how many runs may wait. Pure."""

from collections import Counter

from mesh.board import Board, Run
from mesh.events import AgentJoined, WorkerJoined


def agents_here(board: Board, role: str) -> dict[str, AgentJoined]:
    """Return the agents of a role that have joined and not left, by name."""
    here = ((member.name, member.joined) for member in board.agents.values() if not member.left)
    return {name: its for name, its in here if isinstance(its, AgentJoined) and its.role == role}


def is_gone(board: Board, worker_class: str) -> bool:
    """Tell whether no worker of a class is there, while others are."""
    return worker_class not in ("", "any") and bool(there := slots(board)) and worker_class not in there


def is_awaited(board: Board, run: Run) -> bool:
    """Tell whether a run is not finished, and somebody is there who may finish it."""
    return run.finished is None and not is_gone(board, run.requested.worker_class)


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


def queue_depth(board: Board) -> int:
    """Return how many runs may wait or run at a time: twice the slots of the workers that are there, at least 2."""
    return max(2, 2 * slots(board).total())
