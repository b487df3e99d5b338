"""The formats in which an answer is written, page by page: table, markdown, JSON, JSON lines, CSV.

Tables and markdown are for people, so text from the log is made safe to show. The other formats keep it unchanged.
(Parquet is in `analytics.parquet`.)
"""

import csv
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol

import msgspec
from rich.cells import cell_len

from mesh.sql_protocol import Answer
from mesh.text import printable
from mesh_cli.render.output import Target

Format = Literal["table", "json", "jsonl", "csv", "markdown", "parquet"]
CELL = 120
"""Characters of a value that a table shows."""
BLOCK_CELL = 2000
"""Characters of a value that a block shows."""

_JSON = msgspec.json.Encoder()


class Writer(Protocol):
    """Writes one answer."""

    def page(self, answer: Answer) -> None:
        """Write the rows of a page."""

    def end(self, last: Answer) -> None:
        """Write what stands after the last page."""


def writer(form: Format, target: Target, width: int | None) -> Writer:
    """Return a writer for a text format.

    Args:
        form: the format.
        target: where the text goes.
        width: columns of the terminal; None if the output is not a terminal.
    """
    if form == "json":
        return _Json(target)
    if form == "jsonl":
        return _JsonLines(target)
    if form == "csv":
        return _Csv(target)
    return _Markdown(target) if form == "markdown" else _Table(target, width)


def distinct(names: Iterable[str]) -> list[str]:
    """Return column names with those that repeat numbered (`a`, `a_1`), as DuckDB does for tables."""
    found: dict[str, None] = {}
    for name in names:
        new, number = name, 0
        while new in found:
            number += 1
            new = f"{name}_{number}"
        found[new] = None
    return list(found)


class _Table:
    """Columns side by side, as wide as the first page needs; where the terminal is narrower, a block per row."""

    def __init__(self, target: Target, width: int | None) -> None:
        self._target, self._width = target, width
        self._widths: list[int] = []
        self._blocks = self._begun = False
        self._count = 0

    def page(self, answer: Answer) -> None:
        names = [printable(name, CELL) for name in answer.columns]
        cells = [[cell(value) for value in row] for row in answer.rows]
        if not self._begun:
            self._begun = True
            self._widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
            self._blocks = self._width is not None and sum(self._widths) + 3 * len(names) - 1 > self._width
            self._numbers = [_is_number(name) for name in answer.types]
            if not self._blocks:
                self._line(names)
                self._target.write("─┼─".join("─" * width for width in self._widths) + "\n")
        if self._blocks:
            for row in answer.rows:
                self._block(names, row)
        else:
            for line in cells:
                self._line(line)

    def _line(self, cells: Sequence[str]) -> None:
        padded = (
            " " * (width - cell_len(text)) + text if number else text + " " * (width - cell_len(text))
            for text, width, number in zip(cells, self._widths, self._numbers, strict=True)
        )
        self._target.write(" │ ".join(padded).rstrip() + "\n")

    def _block(self, names: Sequence[str], row: Sequence[Any]) -> None:
        self._count += 1
        head = f"── {self._count} "
        self._target.write(head + "─" * max(min(self._width or 40, 40) - len(head), 0) + "\n")
        widest = max(map(cell_len, names), default=0)
        for name, value in zip(names, row, strict=True):
            text = f"{name}{' ' * (widest - cell_len(name))} │ {cell(value, BLOCK_CELL)}"
            self._target.write(text.rstrip() + "\n")

    def end(self, last: Answer) -> None:
        pass


class _Markdown:
    def __init__(self, target: Target) -> None:
        self._target, self._begun = target, False

    def page(self, answer: Answer) -> None:
        if not self._begun:
            self._begun = True
            self._line(answer.columns)
            rules = ("---:" if _is_number(name) else "---" for name in answer.types)
            self._target.write(f"| {' | '.join(rules)} |\n")
        for row in answer.rows:
            self._line(row)

    def _line(self, values: Sequence[Any]) -> None:
        cells = (cell(value, BLOCK_CELL).replace("\\", "\\\\").replace("|", "\\|") for value in values)
        self._target.write(f"| {' | '.join(cells)} |\n")

    def end(self, last: Answer) -> None:
        pass


class _Json:
    """One object on one line: the sequence numbers that it is as of, the rows, and whether rows were cut."""

    def __init__(self, target: Target) -> None:
        self._target, self._mark = target, ""

    def page(self, answer: Answer) -> None:
        if not self._mark:
            self._target.write(f'{{"as_of":{_text(answer.as_of)},"rows":[')
        names = distinct(answer.columns)
        for row in answer.rows:
            self._target.write(self._mark.strip(" ") + _text(dict(zip(names, row, strict=True))))
            self._mark = ","
        self._mark = self._mark or " "

    def end(self, last: Answer) -> None:
        self._target.write(f'],"truncated":{_text(last.truncated)}}}\n')


class _JsonLines:
    def __init__(self, target: Target) -> None:
        self._target = target

    def page(self, answer: Answer) -> None:
        names = distinct(answer.columns)
        for row in answer.rows:
            self._target.write(_text(dict(zip(names, row, strict=True))) + "\n")

    def end(self, last: Answer) -> None:
        pass


class _Lines:
    """Ends rows by a line feed alone; the writer, which quotes what holds an end of its own lines, must not know."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def write(self, row: str) -> None:
        self._target.write(row.removesuffix("\r\n") + "\n")


class _Csv:
    def __init__(self, target: Target) -> None:
        self._writer, self._begun = csv.writer(_Lines(target)), False

    def page(self, answer: Answer) -> None:
        if not self._begun:
            self._begun = True
            self._writer.writerow(answer.columns)
        self._writer.writerows(
            [_text(value) if isinstance(value, list | dict | bool) else value for value in row] for row in answer.rows
        )

    def end(self, last: Answer) -> None:
        pass


def cell(value: object, limit: int = CELL) -> str:
    """Return a value as text on one line."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return str(value).lower()
    return printable(_text(value) if isinstance(value, list | dict) else str(value), limit)


def _text(value: object) -> str:
    return _JSON.encode(value).decode()


def _is_number(name: str) -> bool:
    """Tell whether a column of this DuckDB type is aligned to the right."""
    numbers = ("DOUBLE", "FLOAT", "DECIMAL", "INTEGER", "INTERVAL")
    return not name.endswith("]") and (name.endswith("INT") or name.startswith(numbers))
