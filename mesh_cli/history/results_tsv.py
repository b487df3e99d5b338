"""`results.tsv`, in which karpathy/autoresearch keeps its history: commit, val_bpb, memory_gb, status, description.

Pure text: rows are read from a file and written from a board. A row that was imported is written as it was.
"""

import math
from typing import Literal, get_args

import msgspec

from mesh import events as e
from mesh.board import Board, Proposal
from mesh.bounds import MAX_NUMBER
from mesh.errors import BadInput
from mesh.leaderboard import Ranking

Status = Literal["keep", "discard", "crash"]
IMPORTED = "results-tsv"
"""The worker class of imported runs; their log is the line of the file."""
METRIC = "val_bpb"
_MAX_LINE = 10_000
_COLUMNS = "commit, val_bpb, memory_gb, status and description"


class Row(msgspec.Struct, frozen=True):
    """One experiment; `line` is its line in the file."""

    commit: str
    value: float
    memory_gb: float
    status: Status
    description: str
    line: str


def parse_tsv(data: bytes, name: str) -> tuple[str, list[Row]]:
    """Return the metric that the header names (`val_bpb` where there is none) and the rows.

    Raises:
        BadInput: a line is malformed; the message has its number.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} line {data[: error.start].count(10) + 1}: not UTF-8 text; convert the file") from None
    metric, rows = METRIC, []
    seen = False
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.removesuffix("\r")
        if not line.strip():
            continue
        cells = line.split("\t", 4)
        if not seen and cells[0].strip().lower() == "commit":
            metric = cells[1].strip() if len(cells) > 1 and cells[1].strip() else METRIC
        else:
            rows.append(_row(line, cells, f"{name} line {number}"))
        seen = True
    if not rows:
        raise BadInput(f"{name} has no rows; it needs lines of {_COLUMNS}, separated by tabs")
    return metric, rows


def _row(line: str, cells: list[str], where: str) -> Row:
    if len(cells) != 5:
        raise BadInput(f"{where}: there are {len(cells)} columns; use 5, separated by tabs: {_COLUMNS}")
    if len(line) > _MAX_LINE:
        raise BadInput(f"{where}: the line has {len(line):,} characters; use at most {_MAX_LINE:,}")
    commit, value, memory, word, description = cells
    if not commit.strip():
        raise BadInput(f"{where}: the commit is missing")
    status = next((known for known in get_args(Status) if known == word.strip()), None)
    if status is None:
        raise BadInput(f"{where}: status is {word[:40]!r}; use keep, discard or crash")
    row = Row(commit.strip(), _number(value, where), _number(memory, where), status, description, line)
    if row.memory_gb < 0:
        raise BadInput(f"{where}: memory_gb is {row.memory_gb:g}; use 0 or more")
    return row


def _number(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not abs(number) <= MAX_NUMBER:
        raise BadInput(f"{where}: {text[:40]!r} is not a finite number of at most {MAX_NUMBER:g}")
    return number


def tsv_lines(board: Board) -> list[str]:
    """Return the history of an arena as lines, the header first; a proposal of the swarm's own is one line.

    Its value is the mean of its scores, its memory the most that a run of it took (of the GPU, where one is known).
    """
    metric = board.spec.objective.metric if board.opened else METRIC
    lines = [f"commit\t{metric}\tmemory_gb\tstatus\tdescription"]
    lines += imported(board)
    ranking = Ranking(board)
    taken = {run.requested.proposal for run in board.runs.values() if _line_of(run.finished)}
    for tree, proposal in board.proposals.items():
        if tree not in taken and (line := _line(ranking, tree, proposal)):
            lines.append(line)
    return lines


def imported(board: Board) -> list[str]:
    """Return the lines that were imported, in their order."""
    return [line for run in board.runs.values() if (line := _line_of(run.finished))]


def _line_of(finished: e.RunFinished | None) -> str:
    return finished.log_tail if finished and finished.worker_class == IMPORTED else ""


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
