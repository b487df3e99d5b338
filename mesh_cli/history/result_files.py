"""Reads the files in which other loops keep their results: tsv, csv, JSON lines and tables in Markdown. Pure.

Every experiment becomes a record of texts by column; nested JSON has dotted names. What a column means, and what its
texts mean, `mesh_cli.history.result_columns` and `result_values` say.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from mesh.errors import BadInput
from mesh_cli.history.result_columns import ROLES, plain_column, role_by_name
from mesh_cli.history.result_values import is_gap, number_of, status_of

MAX_LINE = 10_000
"""Most characters of a line that is no JSON."""

_MAX_JSON, _MAX_DEPTH, _MAX_COLUMNS = 2_000_000, 8, 1000
STANDARD = ("commit", "val_bpb", "memory_gb", "status", "description")
"""The columns of karpathy/autoresearch, which a file without a header may have."""

_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
_CONFIG = ("metric_name", "best_direction", "metric_direction", "direction")
METRIC_OF = "metric of its part"
"""A column that is added where a file has parts with several metrics."""


class Record(msgspec.Struct, frozen=True):
    """One experiment: its line number, its text in the file, and its cells by column. A missing cell is ""."""

    line: int
    raw: str
    cells: dict[str, str]


class ResultTable(msgspec.Struct, frozen=True):
    """The records of a file. `hints` is what the file says besides, such as its `metric_direction`.

    `notes` are sentences about what was left out. `standard` is whether its columns are those of autoresearch.
    """

    name: str
    form: str
    columns: tuple[str, ...]
    records: list[Record]
    hints: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    standard: bool = False


def read_results(data: bytes, name: str, columns: Sequence[str] = ()) -> ResultTable:
    """Return the experiments of a file.

    Args:
        data: the file.
        name: its name, for errors; its suffix only helps where its text does not say what it is.
        columns: names of its columns, where it has no header.

    Raises:
        BadInput: it is none of the known forms, or a line is malformed; the message has its number.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} line {data[: error.start].count(10) + 1}: not UTF-8 text; convert the file") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    first = next((line.strip() for line in lines if line.strip() and not _is_comment(line)), "")
    if first[:1] in ("{", "["):
        table = _json_table(text, lines, name)
    elif rules := [number for number, line in enumerate(lines) if "|" in line and _RULE.fullmatch(line) and number]:
        table = _markdown(lines, rules, name)
    else:
        table = _delimited(lines, name, columns)
    if not table.records:
        raise BadInput(
            f"{name} has no rows; it needs a header and a line for each experiment, as tsv, csv, JSON lines or a table "
            "in Markdown"
        )
    return table


def _is_comment(line: str) -> bool:
    return (line.startswith("#") and line.count("\t") < 2 and line.count(",") < 2) or line.startswith("# ")


def _hints(lines: Sequence[str]) -> dict[str, str]:
    found = (re.match(r"#+\s*([A-Za-z][\w -]{0,40}?)\s*[:=]\s*(.+)", line) for line in lines if line.startswith("#"))
    return {plain_column(each[1]): each[2].strip() for each in found if each}


# Separated by tabs, commas or semicolons


def _delimited(lines: Sequence[str], name: str, columns: Sequence[str]) -> ResultTable:
    hints = _hints(lines)
    rows = [line for line in lines if line.strip() and not line.startswith("#")] or [""]
    tab = "\t" if any("\t" in line for line in rows[:3]) else max(",;", key=rows[0].count)
    form = "tsv" if tab == "\t" else "csv"
    cut = list(_cut_lines(lines, tab, name))
    while cut and cut[0][1].startswith("#") and not _is_header(_uncommented(cut[0][2])):
        cut.pop(0)
    if not cut:
        return ResultTable(name, form, (), [], hints)
    number, _, begin = cut[0]
    begin = _uncommented(begin) if cut[0][1].startswith("#") else begin
    has_header = _is_header(begin) and (not columns or len(begin) == len(columns))
    if columns:
        header = tuple(word.strip() for word in columns)
    elif has_header:
        header = tuple(begin)
    elif _is_standard(begin):
        header = STANDARD
    else:
        raise BadInput(
            f"{name} line {number}: there are {len(begin)} columns and no header that names them; name all "
            f"{len(begin)} with --columns, such as --columns {_suggested(begin)} (- leaves a column out)"
        )
    cut = [each for each in cut if not each[1].startswith("#") and not (has_header and each[2] == begin)]
    header = _unlike(header)
    records = [
        Record(number, raw, dict(zip(header, _fitted(cells, header, tab, f"{name} line {number}"), strict=True)))
        for number, raw, cells in cut
    ]
    wanted = [{column: text for column, text in record.cells.items() if column != "-"} for record in records]
    records = [Record(each.line, each.raw, cells) for each, cells in zip(records, wanted, strict=True)]
    is_standard = form == "tsv" and len(header) == len(STANDARD) and (header[0], *header[2:]) == _OTHERS
    return ResultTable(name, form, header, records, hints, standard=is_standard)


_OTHERS = (STANDARD[0], *STANDARD[2:])


def _cut_lines(lines: Sequence[str], tab: str, name: str) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, text and cells of the lines that are not empty; a quoted cell of a csv may have several lines."""
    if tab == "\t":
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_LINE:
                raise BadInput(f"{name} line {number}: the line has {len(line):,} characters; use at most {MAX_LINE:,}")
            if line.strip():
                yield number, line, [_unquoted(cell) for cell in line.split("\t")]
        return
    last = 0
    reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=tab)
    try:
        for cells in reader:
            raw, number, last = "\n".join(lines[last : reader.line_num]), last + 1, reader.line_num
            if raw.strip():
                yield number, raw, cells
    except csv.Error as error:
        raise BadInput(f"{name} line {reader.line_num}: {error}") from None


def _unquoted(cell: str) -> str:
    """Return a cell without the quotes that csv writers put around it."""
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def _uncommented(cells: list[str]) -> list[str]:
    first = cells[0].lstrip("#").strip()
    return [first, *cells[1:]] if first else cells


def _is_header(cells: Sequence[str]) -> bool:
    """Tell whether a line names columns: it has no number, and some name that is known."""
    names = [cell.strip() for cell in cells if cell.strip()]
    if len(names) < 2 or any(number_of(cell) is not None for cell in names):
        return False
    return any(role_by_name(cell) for cell in names)


def _suggested(cells: Sequence[str]) -> str:
    """Return names for the columns of a file without a header, as far as its first line tells them."""
    texts = [cell if number_of(cell) is None and not is_gap(cell) else "" for cell in cells]
    longest = max(range(len(cells)), key=lambda number: len(texts[number]))
    numbers = [n for n, cell in enumerate(cells) if n and number_of(cell) is not None and n != longest]
    words = [n for n, text in enumerate(texts) if n and n != longest and text and status_of(text)]
    known = {0: "id"} | {numbers[0]: "metric"} if numbers else {0: "id"}
    known |= {longest: "description"} | ({words[-1]: "status"} if words else {})
    return ",".join(known.get(number, "-") for number in range(len(cells)))


def _is_standard(cells: Sequence[str]) -> bool:
    """Tell whether a line without a header is one of autoresearch's five columns."""
    if len(cells) < len(STANDARD):
        return False
    return all(is_gap(c) or number_of(c) is not None for c in cells[1:3]) and bool(status_of(cells[3]))


def _unlike(header: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns, each once and none empty."""
    found: list[str] = []
    for number, cell in enumerate(header, 1):
        name = cell.strip() or f"column {number}"
        found.append(name if name not in found or name == "-" else f"{name} {number}")
    return tuple(found)


def _fitted(cells: list[str], header: Sequence[str], tab: str, where: str) -> list[str]:
    """Return as many cells as there are columns: a text at the end may have tabs, and cells at the end may be missing.

    Raises:
        BadInput: there are other cells than columns.
    """
    count = len(header)
    while len(cells) > count and not cells[-1].strip():
        cells = cells[:-1]
    if len(cells) > count and role_by_name(header[-1]) in ("text", "rationale", ""):
        cells = [*cells[: count - 1], tab.join(cells[count - 1 :])]
    if len(cells) > count or len(cells) < min(2, count):
        named = ", ".join(header[:12]) + (", …" if count > 12 else "")
        raise BadInput(f"{where}: there are {len(cells)} columns; use {count}, as the header has: {named}")
    return [*cells, *[""] * (count - len(cells))]


# JSON


def _json_table(text: str, lines: Sequence[str], name: str) -> ResultTable:
    hints = _hints(lines)
    records: list[Record] = []
    passed = 0
    metric = ""
    for number, raw, value in _json_values(text, lines, name):
        if not isinstance(value, dict):
            raise BadInput(f"{name} line {number}: each experiment must be a JSON object, but here is {raw[:40]!r}")
        cells = dict(_flat(value))
        if cells.get("type") in ("config", "header", "meta") or _is_config(cells):
            hints |= {plain_column(key): text for key, text in cells.items() if plain_column(key) in _CONFIG}
            metric = hints.get("metric_name", metric)
            continue
        if not any(
            number_of(text) is not None or (role_by_name(column) in ("status", "commit", "id") and not is_gap(text))
            for column, text in cells.items()
        ):
            passed += 1
            continue
        records.append(Record(number, raw, cells | ({METRIC_OF: metric} if metric else {})))
    columns = tuple(dict.fromkeys(column for record in records for column in record.cells))[:_MAX_COLUMNS]
    records = [Record(r.line, r.raw, {column: r.cells.get(column, "") for column in columns}) for r in records]
    notes = (f"{passed} lines of {name} are no experiments",) if passed else ()
    return ResultTable(name, "JSON lines", columns, records, hints, notes)


def _is_config(cells: dict[str, str]) -> bool:
    return any(plain_column(key) == "metric_name" for key in cells) and not any(
        role_by_name(key) in ("status", "commit") for key in cells
    )


def _json_values(text: str, lines: Sequence[str], name: str) -> Iterator[tuple[int, str, Any]]:
    if text.lstrip().startswith("["):
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{name} is not valid JSON: {error}") from None
        for number, value in enumerate(values, 1):
            yield number, json.dumps(value, ensure_ascii=False), value
        return
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if len(line) > _MAX_JSON:
            raise BadInput(f"{name} line {number}: the line has {len(line):,} characters; use at most {_MAX_JSON:,}")
        try:
            yield number, line, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"{name} line {number}: not valid JSON: {error}") from None


def _flat(value: dict[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the values of an object as texts, those of nested objects by dotted names; lists stay JSON."""
    for key, each in value.items():
        name = f"{before}{key}"
        if isinstance(each, dict) and each and depth < _MAX_DEPTH:
            yield from _flat(each, f"{name}.", depth + 1)
        elif isinstance(each, str):
            yield name, each
        else:
            yield name, "" if each is None else json.dumps(each, ensure_ascii=False)


# Tables in Markdown


def _markdown(lines: Sequence[str], rules: Sequence[int], name: str) -> ResultTable:
    """Return the table that looks most like results: that with most known columns, then the longest one."""
    tables = list[tuple[int, ResultTable]]()
    for at in rules:
        header = _unlike([_bare(cell) for cell in _bars(lines[at - 1])])
        records = []
        for number, line in enumerate(lines[at + 1 :], at + 2):
            if "|" not in line:
                break
            cells = [_bare(cell) for cell in _bars(line)]
            fitted = [*cells, *[""] * (len(header) - len(cells))][: len(header)]
            records.append(Record(number, line, dict(zip(header, fitted, strict=True))))
        if records and len(header) > 1:
            tables.append((at, ResultTable(name, "a table in Markdown", header, records)))
    if not tables:
        return ResultTable(name, "a table in Markdown", (), [])

    def telling(found: tuple[int, ResultTable]) -> tuple[int, int, int]:
        table = found[1]
        roles = {role_by_name(column) for column in table.columns}
        numbers = sum(number_of(text) is not None for record in table.records for text in record.cells.values())
        return len(roles & ROLES.keys()) + 2 * ("status" in roles), min(numbers, 1), len(table.records)

    at, best = max(tables, key=telling)
    others = f", one of {len(tables)} in the file" if tables[1:] else ""
    return msgspec.structs.replace(best, notes=(f"the table at line {at} of {name}{others}",))


def _bars(line: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", line.strip())
    cells = cells[1:] if cells and not cells[0].strip() else cells
    return cells[:-1] if cells and not cells[-1].strip() else cells


def _bare(cell: str) -> str:
    """Return a cell's text without emphasis, code marks, links and escapes."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", cell.strip())
    text = re.sub(r"(?<!\\)(\*\*|__|`)", "", text)
    text = re.sub(r"^\*(.*)(?<!\\)\*$", r"\1", text)
    return re.sub(r"\\([\\|*_`#~<>-])", r"\1", text).strip()
