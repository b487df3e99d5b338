"""Reads an owner's files into checked tables, as `columns.toml` says."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mesh.errors import BadInput
from mesh.own_data.files import TextTable, read_table
from mesh.own_data.mapping import ColumnMap, TableColumns
from mesh.own_data.template import OwnColumn, OwnTable, load_template, plain_name
from mesh.own_data.values import CellValue, Parsed, Unclear, parse_column

COLUMNS_FILE = "columns.toml"
_SHOWN_ROWS = 3

OwnRow = dict[str, CellValue]
"""A row by the template's columns: dates are ISO text, an empty cell is None, `line` is where it starts in the file."""


class CheckedTable(msgspec.Struct, frozen=True):
    """A table whose values have their types: its rows, and the lines that were left out, with why."""

    rows: tuple[OwnRow, ...]
    left_out: tuple[str, ...] = ()


def read_source(source: Path, arena: Path) -> dict[str, list[OwnRow]]:
    """Return the tables of a source by name, as `artifact.prepare` needs them.

    Args:
        source: the owner's file or folder.
        arena: folder with `own_data.toml` and `columns.toml`.

    Raises:
        SystemExit: a file, column or value cannot be used; with one sentence.
    """
    try:
        template = load_template(arena)
        mapped = msgspec.convert(tomllib.loads((arena / COLUMNS_FILE).read_text("utf-8")), ColumnMap)
        found = {}
        for name, columns in mapped.tables.items():
            text = read_table(source / columns.file if columns.file else source)
            own = template.tables[name]
            if gone := [each for each in columns.columns.values() if each not in text.header]:
                raise BadInput(f"{text.path} has no column {gone[0]!r} any more: correct {arena.name}/{COLUMNS_FILE}")
            found[name] = list(check_table(text, own, columns, skip_bad_rows=mapped.skip_bad_rows).rows)
    except (BadInput, OSError, ValueError, KeyError) as error:
        raise SystemExit(f"the data cannot be used: {error}") from None
    return found


def check_table(text: TextTable, own: OwnTable, columns: TableColumns, *, skip_bad_rows: bool = False) -> CheckedTable:
    """Return the rows of a table with values of their types.

    Raises:
        BadInput: values have the wrong type, are missing where they are needed, or a key comes twice; with the lines.
    """
    wrong = {
        place: f"it has {row.size} cells, but the header has {len(text.header)} columns"
        for place, row in enumerate(text.rows)
        if row.size
    }
    if wrong and not skip_bad_rows:
        raise BadInput(_bad_rows(text, wrong))
    values: dict[str, Sequence[CellValue]] = {}
    for name, theirs in columns.columns.items():
        column = own.columns[name]
        parsed = _parsed(text, name, theirs, column, columns)
        places = [
            (place, f"{theirs} ({name}) has {cell[:40]!r}, which is not {_kind(column)}")
            for place, cell in parsed.wrong
        ]
        if column.required:
            known = {place for place, _ in parsed.wrong}
            empty = [place for place, value in enumerate(parsed.values) if value is None and place not in known]
            places += [(place, f"{theirs} ({name}) is empty") for place in empty]
        values[name] = parsed.values
        for place, why in places:
            wrong.setdefault(place, why)
        if places and not skip_bad_rows:
            raise BadInput(_bad_rows(text, dict(places)))
    rows = [
        {"line": row.line} | {name: found[place] for name, found in values.items()}
        for place, row in enumerate(text.rows)
        if place not in wrong
    ]
    if not rows:
        raise BadInput(f"{text.path}: no row can be used: {_bad_rows(text, wrong)}")
    _check_key(text, own, columns, rows)
    return CheckedTable(
        tuple(rows), tuple(f"line {text.rows[place].line}: {why}" for place, why in sorted(wrong.items()))
    )


def _parsed(text: TextTable, name: str, theirs: str, column: OwnColumn, columns: TableColumns) -> Parsed:
    cells = [row.cells[theirs] for row in text.rows]
    if column.type == "choice":
        return _chosen(cells, column)
    try:
        return parse_column(cells, column.type, decimal=columns.decimal, order=columns.dates)
    except Unclear as error:
        uses = "comma or point" if error.option == "--decimal" else "dmy or mdy"
        if text.separator == ";" and error.option == "--decimal":
            return parse_column(cells, column.type, decimal="comma", order=columns.dates)
        raise BadInput(
            f"{text.path}: column {theirs} ({name}): {error}: say how they are written: {error.option} {uses}"
        ) from None


def _chosen(cells: Sequence[str], column: OwnColumn) -> Parsed:
    known = {plain_name(each): value for value, names in column.choices.items() for each in (value, *names)}
    values: list[CellValue] = []
    wrong = []
    for place, cell in enumerate(cells):
        values.append(known.get(plain_name(cell)) if cell else None)
        if cell and values[-1] is None:
            wrong.append((place, cell))
    return Parsed(tuple(values), tuple(wrong))


def _kind(column: OwnColumn) -> str:
    match column.type:
        case "choice":
            known = "; ".join(f"{value}: {', '.join(names[:6])}" for value, names in column.choices.items())
            return f"one of {', '.join(column.choices)} (accepted too are {known})"
        case "number":
            return "a number"
        case "integer":
            return "a whole number"
        case "date":
            return "a date"
        case "flag":
            return "yes or no"
        case "text":
            return "text"


def _bad_rows(text: TextTable, wrong: Mapping[int, str]) -> str:
    places = sorted(wrong)
    lines = [text.rows[place].line for place in places[1:_SHOWN_ROWS]]
    also = f" (so has line {', '.join(map(str, lines))}" if lines else ""
    if also:
        rest = len(places) - 1 - len(lines)
        also += f" and {rest} more)" if rest else ")"
    return (
        f"{text.path}: line {text.rows[places[0]].line}: {wrong[places[0]]}{also}: "
        "correct the file, or leave such rows out: --skip-bad-rows"
    )


def _check_key(text: TextTable, own: OwnTable, columns: TableColumns, rows: Sequence[OwnRow]) -> None:
    key = [name for name in own.key if name in columns.columns]
    if not key:
        return
    seen: dict[tuple[CellValue, ...], Any] = {}
    for row in rows:
        value = tuple(row[name] for name in key)
        if value in seen:
            named = ", ".join(f"{columns.columns[name]} {row[name]!r}" for name in key)
            raise BadInput(
                f"{text.path}: lines {seen[value]} and {row['line']} have the same {named}: "
                "each row needs its own: correct the file"
            )
        seen[value] = row["line"]
