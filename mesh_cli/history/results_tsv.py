"""Writes `results.tsv` as karpathy/autoresearch does: commit, val_bpb, memory_gb, status, description.

Pure text, made from a board. A row that was imported from such a file is written as it was.
"""

from mesh import events as e
from mesh.board import Board, Proposal
from mesh.leaderboard import Ranking

IMPORTED = "results-tsv"
"""The worker class of runs that were imported from a `results.tsv`; their log is the line of the file."""
IMPORTED_OTHER = "imported"
"""The worker class of runs that were imported from another file; their log is their text in that file."""
METRIC = "val_bpb"
_IMPORTED = (IMPORTED, IMPORTED_OTHER)


def tsv_lines(board: Board) -> list[str]:
    """Return the history of an arena as lines, the header first; a proposal of the swarm's own is one line.

    Its value is the mean of its scores, its memory the most that a run of it took (of the GPU, where one is known).
    """
    metric = board.spec.objective.metric if board.opened else METRIC
    lines = [f"commit\t{metric}\tmemory_gb\tstatus\tdescription"]
    lines += [line for run in board.runs.values() if (line := _line_of(run.finished, IMPORTED))]
    ranking = Ranking(board)
    taken = {run.requested.proposal for run in board.runs.values() if _line_of(run.finished, IMPORTED)}
    for tree, proposal in board.proposals.items():
        if tree not in taken and (line := _line(ranking, tree, proposal)):
            lines.append(line)
    return lines


def imported(board: Board) -> list[str]:
    """Return the texts of the rows that were imported, in their order."""
    return [line for run in board.runs.values() if (line := _line_of(run.finished, *_IMPORTED))]


def imported_proposals(board: Board) -> list[str]:
    """Return the proposals that were imported: the texts of their rows are the logs of their runs."""
    found = (run for run in board.runs.values() if run.finished and run.finished.worker_class in _IMPORTED)
    return [run.requested.proposal for run in found]


def _line_of(finished: e.RunFinished | None, *classes: str) -> str:
    return finished.log_tail if finished and finished.worker_class in classes else ""


def _line(ranking: Ranking, tree: str, proposal: Proposal) -> str:
    board, row = ranking.board, ranking.of(tree)
    finished = [run.finished for run in board.current_runs(tree) if run.finished]
    if not finished:
        return ""
    memory = max(max(f.peak_gpu_memory_mb or 0.0, 0.0) or f.peak_memory_mb for f in finished)
    status = "crash" if row is None else "keep" if tree in board.champions and row.state != "demoted" else "discard"
    value = row.mean if row else 0.0
    title = " ".join(proposal.event.title.split())
    return f"{proposal.event.commit[:7]}\t{value:.6f}\t{memory / 1024 if row else 0:.1f}\t{status}\t{title}"
