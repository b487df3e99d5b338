"""The experiments of a file of results: its rows by what its columns mean, and which way its metric is better. Pure."""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import msgspec

from mesh.errors import BadInput
from mesh.spec import Direction, gain
from mesh_cli.history.result_columns import AskedColumns, ColumnCells, ColumnRoles, column_roles, plain_column
from mesh_cli.history.result_files import METRIC_OF, Record, ResultTable, read_results
from mesh_cli.history.result_values import is_gap, megabytes_of, number_of, seconds_of, status_of, time_of

RowStatus = Literal["keep", "discard", "crash"]

_LOWER = re.compile(
    r"(^|_)(loss|bpb|bpc|err(or)?|wer|cer|rmse|mse|mae|mape|nll|perplexity|ppl|latency|time|runtime|seconds|secs|ms|us|ns"
    r"|µs|μs|cost|regret|drawdown|gas|bytes|size|memory|violations?|failures|errors|allocations|rank)(_|$)"
)
_HIGHER = re.compile(
    r"(^|_)(acc(uracy)?|score|sharpe|f1|auc|auroc|auprc|precision|recall|iou|map\d*|m_ap\d*|reward|return|fitness|tok_s|tps"
    r"|qps|rps|fps|tflops|gflops|throughput|speedup|bandwidth|r2|ndcg|mrr|bleu|rouge|win_rate|pass_rate|coverage|war)(_|$)"
)
_BY_NAMES = AskedColumns()
_SOME = 0.2
_MOST_METRICS = 500
_MAX_TITLE = 10_000


class Experiment(msgspec.Struct, frozen=True):
    """One row. `commit` and `id` are "" where it has none; `value` is None where it has no score.

    `parents` are the ids or commits that it names; `seconds` is how long it took, 0 where it does not say it.
    """

    line: int
    raw: str
    commit: str
    id: str
    status: RowStatus
    value: float | None
    title: str
    rationale: str = ""
    word: str = ""
    at: dt.datetime | None = None
    seconds: float = 0.0
    memory_mb: float | None = None
    parents: tuple[str, ...] = ()
    diff: str = ""
    metrics: dict[str, float] = {}


class ForeignHistory(msgspec.Struct, frozen=True):
    """The experiments of a file, what its columns mean, and which way its metric is better, with the reason."""

    table: ResultTable
    roles: ColumnRoles
    rows: list[Experiment]
    direction: Direction
    why_direction: str
    worse: int = 0

    @property
    def kept(self) -> int:
        """The number of experiments that were kept and have a score."""
        return sum(row.status == "keep" and row.value is not None for row in self.rows)


def read_history(
    data: bytes,
    name: str,
    *,
    asked: AskedColumns = _BY_NAMES,
    columns: Sequence[str] = (),
    direction: Direction | None = None,
) -> ForeignHistory:
    """Return the experiments of a file.

    Args:
        data: the file.
        name: its name, for errors.
        asked: the columns that the user names.
        columns: names of all columns, where the file has no header.
        direction: which way is better; None where the file is to say it.

    Raises:
        BadInput: the file cannot be read, a name is that of no column, or it does not say enough.
    """
    table = read_results(data, name, columns)
    parts = dict.fromkeys(record.cells.get(METRIC_OF, "") for record in table.records)
    if len(parts) > 1:
        if asked.metric not in parts:
            raise BadInput(f"{name} has parts with several metrics ({', '.join(parts)}): name one with --metric")
        records = [record for record in table.records if record.cells.get(METRIC_OF) == asked.metric]
        notes = (*table.notes, f"{len(table.records) - len(records)} experiments with other metrics are left out")
        table = msgspec.structs.replace(table, records=records, notes=notes)
    roles = _roles(table, asked)
    if not any(number_of(record.cells[roles.metric]) is not None for record in table.records):
        raise BadInput(f"{name} has no number in {roles.metric}, so that nothing can be ranked")
    wanted, why = (direction, "--direction") if direction else _direction(table, roles)
    rows = list(_rows(table, roles, wanted))
    return ForeignHistory(table, roles, rows, wanted, why, _kept_worse(rows, wanted))


def _roles(table: ResultTable, asked: AskedColumns) -> ColumnRoles:
    columns = [column for column in table.columns if column not in ("-", METRIC_OF)]
    found = dict[str, ColumnCells]()
    for column in columns:
        cells = [cell for record in table.records if not is_gap(cell := record.cells[column])]
        share = sum(number_of(cell) is not None for cell in cells) / len(cells) if cells else 0.0
        words = 1 - share if cells else 0.0
        found[column] = ColumnCells(share if share >= _SOME else 0.0, words, len(set(cells)))
    return column_roles(columns, found, asked, table.hints, table.name)


def _direction(table: ResultTable, roles: ColumnRoles) -> tuple[Direction, str]:
    """Return which way is better: by the file's own words, else by what was kept, else by the metric's name.

    Raises:
        BadInput: nothing says it.
    """
    for key in ("metric_direction", "best_direction", "direction"):
        word = table.hints.get(key, "").lower()
        if re.match(r"(lower|min|down|less|smaller)", word):
            return "minimize", f"the file says {word}"
        if re.match(r"(higher|max|up|more|greater|larger)", word):
            return "maximize", f"the file says {word}"
    by_name = _named_direction(roles)
    statuses = (
        [(status_of(r.cells[roles.status]), number_of(r.cells[roles.metric])) for r in table.records]
        if roles.status
        else []
    )
    steps, last = list[float](), None
    for status, value in statuses:
        if value is None or status == "crash":
            continue
        if last is not None and value != last:
            steps.append(value - last if status == "keep" else last - value)
        last = value if status == "keep" or last is None else last
    up = sum(step > 0 for step in steps)
    down = len(steps) - up
    if max(up, down) >= 2 and max(up, down) >= 0.8 * len(steps):
        return ("maximize" if up > down else "minimize"), "what was kept and discarded says so"
    is_against = len(steps) >= 3 and (up if by_name == "minimize" else down) > 0.6 * len(steps)
    if by_name and not is_against:
        return by_name, f"{roles.metric_name} is such a metric by its name"
    if not by_name and up != down and len(steps) >= 3:
        return ("maximize" if up > down else "minimize"), "most of what was kept and discarded says so"
    raise BadInput(
        f"{table.name} does not say whether less or more {roles.metric_name} is better: add --direction minimize or "
        "--direction maximize"
    )


def _named_direction(roles: ColumnRoles) -> Direction | None:
    for name in (roles.metric_name, roles.metric):
        plain = plain_column(name)
        if _LOWER.search(plain) and not _HIGHER.search(plain):
            return "minimize"
        if _HIGHER.search(plain) and not _LOWER.search(plain):
            return "maximize"
    return None


def _rows(table: ResultTable, roles: ColumnRoles, direction: Direction) -> Iterator[Experiment]:
    best: float | None = None
    for record in table.records:
        row = _row(record, roles, best, direction)
        if row is None:
            continue
        if row.value is not None and row.status == "keep" and (best is None or gain(direction, row.value, best) > 0):
            best = row.value
        yield row


def _row(record: Record, roles: ColumnRoles, best: float | None, direction: Direction) -> Experiment | None:
    def cell(role: str) -> str:
        text = record.cells.get(role, "") if role else ""
        return "" if is_gap(text) else text.strip()

    shown = record.cells[roles.metric]
    value = number_of(shown)
    word = cell(roles.status)
    status = status_of(word)
    if value is None and (told := status_of(shown)) == "crash":
        status, word = told, word or shown.strip()
    if not status:
        is_better = value is not None and (best is None or gain(direction, value, best) > 0)
        status = "crash" if value is None else "keep" if is_better and not roles.status else "discard"
    if status == "crash":
        value = None
    metrics = {
        column: number
        for column in roles.numbers[:_MOST_METRICS]
        if (number := number_of(record.cells[column])) is not None
    }
    text = cell(roles.text)
    named = cell(roles.id) or cell(roles.commit)
    return Experiment(
        line=record.line,
        raw=record.raw,
        commit=cell(roles.commit),
        id=cell(roles.id),
        status=status,  # type: ignore[arg-type]  # status_of returns these three alone
        value=value,
        title=text[:_MAX_TITLE] or named[:_MAX_TITLE] or f"line {record.line}",
        rationale=cell(roles.rationale)[:_MAX_TITLE],
        word=word[:200],
        at=time_of(cell(roles.time)) if roles.time else None,
        seconds=seconds_of(cell(roles.seconds), roles.seconds),
        memory_mb=megabytes_of(cell(roles.memory), roles.memory),
        parents=tuple(re.findall(r"[^\s,;\[\]\"']+", cell(roles.parent))),
        diff=record.cells.get(roles.diff, "") if roles.diff else "",
        metrics=metrics,
    )


def _kept_worse(rows: Sequence[Experiment], direction: Direction) -> int:
    """Return how many experiments were kept although they are worse than the one kept before them."""
    kept = [row.value for row in rows if row.status == "keep" and row.value is not None]
    return sum(gain(direction, value, before) < 0 for before, value in pairwise(kept))
