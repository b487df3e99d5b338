"""The baseline: whether it has a score yet, why it has none, and whether to measure it again. Pure.

Nobody proposes until the evaluator in force has given the baseline a number. If it fails, nothing else can be scored
either, so the search waits. The baseline is measured again once a worker joins or the arena is opened again.
"""

from mesh.board import Board, Run


def is_measured(board: Board) -> bool:
    """Tell whether the baseline has a number by the evaluator in force: a score, or one that misses a limit."""
    if board.opened is None or board.opened.base_tree not in board.proposals:
        return False
    base = board.proposals[board.opened.base_tree]
    runs = (board.runs[name] for name in base.runs)
    return not base.ruled_out and any(run.has_number and board.is_current(run) for run in runs)  # mostly the first


def baseline_failure(board: Board) -> Run | None:
    """Return the last failed run of a baseline that has no number; None while one is awaited, or if it has one."""
    if board.opened is None or board.opened.base_tree not in board.proposals or is_measured(board):
        return None
    runs = board.current_runs(board.opened.base_tree)
    if not runs or any(run.finished is None for run in runs):
        return None
    return max(runs, key=lambda run: run.finished_seq)


def is_baseline_due(board: Board) -> bool:
    """Tell whether to measure a failed baseline again: a worker has joined since, or the arena was opened again."""
    last = baseline_failure(board)
    if last is None or board.opened is None:
        return False
    joined = any(not worker.left and worker.seq > last.finished_seq for worker in board.workers.values())
    return joined or last.requested.version < board.opened.version
