"""The fleet: which workers and agents are present, what they execute, and how many runs may wait. Pure.

Where a roll call was made (`mesh.roll_call`), whoever answers is present. Without one, the log says it: a worker is
present from its joining until it leaves or another life of its name joins.
"""

from collections import Counter
from collections.abc import Collection, Mapping

from mesh.board import Board, Member, Run
from mesh.events import AgentJoined, WorkerJoined
from mesh.run_sums import has_many, run_sums


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


def present(members: dict[str, Member], answering: Collection[str] | None = None) -> dict[str, Member]:
    """Return those of `members` that are there, by boot id.

    Args:
        members: the workers or the agents of a board.
        answering: boot ids of those that answer a roll call; None where none was made.
    """
    latest = {member.name: boot for boot, member in members.items()}
    there = set(latest.values()) if answering is None else answering
    return {boot: member for boot, member in members.items() if not member.left and boot in there}


def under_way(board: Board, answering: Collection[str] | None = None) -> list[str]:
    """Return the unfinished runs that a present worker began last, in the order of the log."""
    there = set(present(board.workers)) if answering is None else answering

    def has_worker(run: Run) -> bool:  # one that never joined is gone where it does not answer
        return run.worker in there or (answering is None and run.worker not in board.workers)

    return [name for name in board.unfinished if (run := board.runs[name]).attempts and has_worker(run)]


def waiting(board: Board, answering: Collection[str] | None = None) -> list[str]:
    """Return the unfinished runs that nobody executes: not begun, or begun by a worker that is gone."""
    busy = set(under_way(board, answering))
    return [run for run in board.unfinished if run not in busy]


def slots(board: Board, answering: Collection[str] | None = None) -> Counter[str]:
    """Return the slots of the present workers, by worker class."""
    if answering is not None:
        return _slots_of(present(board.workers, answering))
    global _counted
    counted = _counted  # one name for all, because another thread may ask about another board
    if counted[0] is not board or counted[1] != board.seq:
        counted = _counted = (board, board.seq, _slots_of(present(board.workers)))
    return counted[2].copy()


_counted: tuple[Board | None, int, Counter[str]] = (None, 0, Counter())
"""The slots of the board that was asked about last, as of an entry: a decision asks many times."""


def _slots_of(members: Mapping[str, Member]) -> Counter[str]:
    found: Counter[str] = Counter()
    for member in members.values():
        if isinstance(member.joined, WorkerJoined):
            found[member.joined.worker_class] += member.joined.slots
    return found


def home_class(board: Board) -> str:
    """Return the confirming class: the worker class in which races and control runs take place; "" if unknown.

    It is the class that the arena names. Else it is the present class in which the champion has most scores, or else
    the one with most slots. Without any worker it is the class in which the champion has most scores.
    """
    if board.spec.worker.class_ != "any":
        return board.spec.worker.class_
    proven = scored_in(board, board.champion) if board.champion else Counter[str]()
    present = slots(board)
    if present:
        return max(sorted(present), key=lambda name: (proven[name], present[name]))
    return max(sorted(proven), key=lambda name: proven[name], default="")


def scored_in(board: Board, tree: str) -> Counter[str]:
    """Return how many scores of a proposal count, by worker class."""
    if has_many(board, tree):
        return run_sums(board, tree).counts
    runs = board.current_runs(tree)
    return Counter(run.finished.worker_class for run in runs if run.finished and run.value is not None)


def queue_depth(board: Board) -> int:
    """Return the limit of unfinished runs: twice the slots of the present workers, at least 2."""
    return max(2, 2 * slots(board).total())
