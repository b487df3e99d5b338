"""Which column of a file of results means what: by the names that loops use, and by what the user says. Pure."""

import difflib
import re
from collections.abc import Mapping, Sequence

import msgspec

from mesh.errors import BadInput


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ROLES: dict[str, tuple[str, ...]] = {
    "commit": _words("commit git_commit commit_hash commit_sha experiment_commit git_sha git_hash sha hash revision"),
    "id": _words(
        """
        id exp_id experiment_id run_id config_id trial_id candidate_id proposal_id candidate trial experiment
        exp run iteration iter generation attempt # no n num index tag name
        """
    ),
    "status": _words(
        """
        status decision verdict outcome kept keep is_best accepted promoted improved correctness state result
        label
        """
    ),
    "text": _words(
        """
        description desc change_description change_summary change title idea summary what hypothesis notes note
        comment comments message details modification mutation strategy experiment_name text strategy_preview
        """
    ),
    "rationale": _words("rationale reasoning reason why hypothesis motivation analysis"),
    "time": _words("timestamp time datetime date created_at finished_at ended_at started_at ts when utc"),
    "seconds": _words(
        """
        total_seconds seconds duration duration_s duration_sec duration_seconds elapsed elapsed_s
        elapsed_seconds wall_s wall_time wall_seconds wall_time_s runtime_seconds training_seconds train_seconds
        train_time_s trial_s duration_ms elapsed_ms minutes
        """
    ),
    "memory": (),
    "parent": _words("parent parents parent_id parent_ids parent_commit parent_best_commit parent_experiment"),
    "diff": _words("diff patch code_diff git_diff unified_diff"),
}
"""The names of columns, as loops write them, in the order in which they are looked for."""

PRIMARY = _words(
    """
        metric score val_bpb combined_score composite_score fitness objective primary primary_metric best_metric
        val_loss val_score validation_score test_score accuracy val_acc val_accuracy reward value
        """
)
"""Names of metrics, those first that can hardly be another number."""

_MEMORY = re.compile(r"(^|_)(memory|vram|mem|rss|ram)(_|$)")
_NO_METRIC = re.compile(
    r"(^|_)(delta|diff|change|cost|usd|price|tokens?|budget|seed|steps?|epochs?|params?|confidence|segment|seconds|secs"
    r"|duration|elapsed|version|rank|size)(_|$)|^(δ|Δ)"
)
_GENERIC = ("metric", "value", "score", "result")


class ColumnRoles(msgspec.Struct, frozen=True):
    """Which column is what; "" where there is none. `reasons` says of a role why its column was taken.

    `metric_name` is what the metric is called, which may be another name than that of its column. `numbers` are the
    columns whose numbers become metrics of the runs.
    """

    metric: str
    metric_name: str
    commit: str = ""
    id: str = ""
    status: str = ""
    text: str = ""
    rationale: str = ""
    time: str = ""
    seconds: str = ""
    memory: str = ""
    parent: str = ""
    diff: str = ""
    numbers: tuple[str, ...] = ()
    reasons: dict[str, str] = {}


class ColumnCells(msgspec.Struct, frozen=True):
    """What is in a column: of the cells that are no gaps the share of numbers and of words; how many are distinct."""

    numbers: float
    words: float
    distinct: int


class AskedColumns(msgspec.Struct, frozen=True):
    """The columns that the user names; None where the names in the file are to say it."""

    id: str | None = None
    metric: str | None = None
    status: str | None = None
    text: str | None = None


def plain_column(name: str) -> str:
    """Return a column's name in small letters, with one underscore for all that is neither letter nor digit."""
    return re.sub(r"[^\w#]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)).strip("_").lower()


def _last_part(name: str) -> str:
    return plain_column(name.rpartition(".")[2])


def role_by_name(column: str) -> str:
    """Return the role that a column has by its name: one of `ROLES`, `metric`, or "" for none."""
    whole, last = plain_column(column), _last_part(column)
    for role, names in ROLES.items():
        if whole in names:
            return role
    if whole in PRIMARY or last in PRIMARY:
        return "metric"
    return "memory" if _MEMORY.search(whole) else ""


def column_roles(
    columns: Sequence[str],
    cells: Mapping[str, ColumnCells],
    asked: AskedColumns,
    hints: Mapping[str, str],
    file: str,
) -> ColumnRoles:
    """Return what the columns of a file are.

    Args:
        columns: the names of the columns, in their order.
        cells: what is in them.
        asked: what the user says.
        hints: what the file says besides its rows.
        file: its name, for errors.

    Raises:
        BadInput: a name is that of no column, or it is not clear which column is the metric.
    """
    found, reasons = dict[str, str](), dict[str, str]()
    for role in ("id", "status", "text"):
        if (name := getattr(asked, role)) is not None:
            found[role] = _column(name, columns, f"--{role}", file) if name not in ("", "-") else ""
            reasons[role] = f"--{role}"
    for role in ("commit", "id", "status", "time", "parent", "diff", "text", "rationale"):
        if role in found:
            continue
        fits = [column for column in _named(role, columns) if column not in found.values()]
        if role == "status":
            fits = [
                column
                for column in fits
                if cells[column].words > 0.5 or plain_column(column) in ("kept", "keep", "is_best")
            ]
        elif role == "text":
            fits = [column for column in fits if cells[column].words > 0.5]
        elif role == "id":
            fits.sort(key=lambda column: -cells[column].distinct)
        found[role] = fits[0] if fits else ""
    memory = [
        column
        for column in columns
        if role_by_name(column) == "memory" and cells[column].numbers and column not in found.values()
    ]
    rest = [column for column in columns if cells[column].numbers and column not in found.values()]
    clocks = [column for column in _named("seconds", columns) if column in rest]
    metric, name, why = _metric(columns, rest, [*memory, *clocks], found, asked.metric, hints, file)
    reasons["metric"] = why
    found["memory"] = next((column for column in memory if column != metric), "")
    found["seconds"] = next((column for column in clocks if column != metric), "")
    index = {column for column in _named("id", columns) if column != metric}
    taken = {metric, *found.values()}
    numbers = tuple(column for column in rest if column not in taken | index)
    return ColumnRoles(metric, name, **found, numbers=numbers, reasons=reasons)


def _named(role: str, columns: Sequence[str]) -> list[str]:
    """Return the columns that have a name of a role, in the order of those names; of nested ones the last part."""
    whole = {plain_column(column): column for column in reversed(columns)}
    last = {_last_part(column): column for column in reversed(columns)}
    exact = [whole[name] for name in ROLES[role] if name in whole]
    return exact or (
        [last[name] for name in ROLES[role] if name in last] if role in ("time", "seconds", "status") else []
    )


def _column(name: str, columns: Sequence[str], option: str, file: str) -> str:
    """Return the column that an option names: as it is, or but for case and dots before it.

    Raises:
        BadInput: it is none.
    """
    if name in columns:
        return name
    for same in (
        [column for column in columns if plain_column(column) == plain_column(name)],
        [column for column in columns if _last_part(column) == _last_part(name)],
    ):
        if len(same) == 1:
            return same[0]
    near = difflib.get_close_matches(plain_column(name), [plain_column(column) for column in columns], 1, 0.6)
    mean = [column for column in columns if near and plain_column(column) == near[0]]
    cure = f"did you mean {mean[0]}?" if mean else f"it has {_listed(columns)}"
    raise BadInput(f"{option} is {name}, but {file} has no such column: {cure}")


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:10]) + (f" and {len(columns) - 10} more" if len(columns) > 10 else "")


def _metric(
    columns: Sequence[str],
    rest: Sequence[str],
    least: Sequence[str],
    found: Mapping[str, str],
    asked: str | None,
    hints: Mapping[str, str],
    file: str,
) -> tuple[str, str, str]:
    """Return the column of the metric, its name and why it is that column."""
    named = hints.get("metric_name") or hints.get("metric") or ""
    if asked is not None and any(plain_column(asked) in (plain_column(c), _last_part(c)) for c in columns):
        column = _column(asked, columns, "--metric", file)
        return column, column, "--metric"
    metrics = [column for column in rest if column not in least and not _NO_METRIC.search(plain_column(column))]
    column, why = _likely(columns, metrics, list(rest), found)
    if column and asked is not None:
        if plain_column(column) not in _GENERIC:
            column = _column(asked, columns, "--metric", file)
            return column, column, "--metric"
        return column, asked, "--metric names it"
    if not column:
        options = metrics or list(rest)
        if not options:
            raise BadInput(f"{file} has no column of numbers that could be the metric: it has {_listed(columns)}")
        raise BadInput(
            f"{file} has several numbers: say which one is the metric: --metric {options[0]} ({_listed(options)})"
        )
    return column, (named if named and plain_column(column) in _GENERIC else column), why


def _likely(
    columns: Sequence[str], metrics: Sequence[str], rest: Sequence[str], found: Mapping[str, str]
) -> tuple[str, str]:
    for name in PRIMARY:
        for same in (
            [column for column in metrics if plain_column(column) == name],
            [column for column in metrics if _last_part(column) == name],
        ):
            if len(same) == 1:
                return same[0], "by its name"
    if len(metrics) == 1:
        return metrics[0], "the only number that can be it"
    if not metrics and len(rest) == 1:
        return rest[0], "the only number"
    behind = found.get("commit") or found.get("id")
    if (
        behind
        and found.get("status")
        and (at := list(columns).index(behind) + 1) < len(columns)
        and columns[at] in metrics
    ):
        return columns[at], f"the number behind {behind}"
    return "", ""
