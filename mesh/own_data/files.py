"""Reads a table from a file as people export it: CSV of any separator and encoding, or JSON lines.

It knows UTF-8 with and without byte order mark, UTF-16 and Windows-1252; commas, semicolons, tabs and bars; quoted
line breaks; Excel's first line `sep=;`; judgments of TREC, which have no header. It does not read workbooks, packed
files and others that are not text, but says what they are.
"""

import csv
import io
import json
import re
from pathlib import Path

import msgspec

from mesh.decoding import decode_json
from mesh.errors import BadInput
from mesh.own_data.file_kinds import WANTED, binary_kind, text_trouble

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".qrels")
_SEPARATORS = ",;\t|"
_SAMPLE_ROWS, _SAMPLE_CHARACTERS = 50, 200_000
_TREC = re.compile(r"(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]+(-?\d+)[ \t]*\r?")
"""A line of TREC's judgments, which have no header: query, iteration, document, grade."""
_CELL = 1 << 27
"""Characters of a cell; Python's own limit, 131,072, is less than some documents have."""


class TextRow(msgspec.Struct, frozen=True):
    """A row: the line of the file on which it starts, from 1, and its cells by the name of the column.

    `size` is the number of its cells where it has more than the header.
    """

    line: int
    cells: dict[str, str]
    size: int = 0


class TextTable(msgspec.Struct, frozen=True):
    """A table as it stands in a file; `separator` is "" for JSON lines, `encoding` a name of Python's."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[TextRow, ...]
    separator: str
    encoding: str


def read_table(path: Path) -> TextTable:
    """Return the table in a file; empty rows are left out.

    Raises:
        BadInput: the file is empty or is not a table; with the line.
    """
    try:
        if why := binary_kind(path):
            raise BadInput(f"{path} {why}")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    text, encoding = _decoded(path, data)
    if not text.strip():
        raise BadInput(f"{path} is empty: it needs a header and at least one row")
    if why := text_trouble(text):
        raise BadInput(f"{path} {why}")
    is_json = path.suffix.lower() in (".jsonl", ".ndjson", ".json")
    table = _lines_of_json if is_json else _separated
    if table is _separated and _TREC.fullmatch(text.lstrip().partition("\n")[0]):
        table = _judgments
    found = table(path, text, encoding)
    if not found.rows:
        raise BadInput(f"{path} has a header but no row: export it with its rows")
    return found


def _decoded(path: Path, data: bytes) -> tuple[str, str]:
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        tried = ["utf-32"]
    elif data.startswith((b"\xff\xfe", b"\xfe\xff")):
        tried = ["utf-16"]
    elif b"\0" in data[:200]:
        tried = ["utf-16-le" if data[1:2] == b"\0" else "utf-16-be"]
    else:
        tried = ["utf-8-sig", "cp1252"]
    for encoding in tried:
        try:
            return data.decode(encoding).rstrip("\x1a"), encoding  # the end of a file in DOS
        except UnicodeDecodeError:
            continue
    raise BadInput(f"{path} is neither UTF-8, UTF-16 nor Windows-1252 text, {WANTED}: save it as UTF-8")


def _judgments(path: Path, text: str, encoding: str) -> TextTable:
    names = ("query-id", "iteration", "corpus-id", "score")
    rows = []
    for line, each in enumerate(text.split("\n"), start=1):
        if found := _TREC.fullmatch(each):
            rows.append(TextRow(line, dict(zip(names, found.groups(), strict=True))))
        elif each.strip():
            raise BadInput(f"{path}: line {line} is {each[:60]!r}: a line of TREC's judgments has 4 columns")
    return TextTable(path, names, tuple(rows), " ", encoding)


def _separated(path: Path, text: str, encoding: str) -> TextTable:
    first, _, rest = text.partition("\n")
    skipped, separator = 0, ""
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        text, separator, skipped = rest, first.strip()[4], 1
    separator = separator or _separator(text)
    csv.field_size_limit(_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    rows: list[TextRow] = []
    line = 1
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if any(row) and not header:
                header = _names(path, row, line + skipped)
            elif any(row):
                size = len(row) if any(row[len(header) :]) else 0
                cells_by_name = dict(zip(header, row + [""] * (len(header) - len(row)), strict=False))
                rows.append(TextRow(line + skipped, cells_by_name, size))
            line = reader.line_num + 1  # where the next row starts
    except csv.Error as error:
        raise BadInput(f"{path}: line {reader.line_num + skipped} is not valid CSV: {error}") from None
    return TextTable(path, tuple(header), tuple(rows), separator, encoding)


def _separator(text: str) -> str:
    """Return the separator by which most rows have as many cells as the header, of those the one with most cells."""
    best, found = (0.0, 0), ","
    for separator in _SEPARATORS:
        sample = csv.reader(io.StringIO(text[:_SAMPLE_CHARACTERS], newline=""), delimiter=separator)
        try:
            counts = [len(row) for _, row in zip(range(_SAMPLE_ROWS), sample, strict=False) if any(row)]
        except csv.Error:
            continue
        if not counts or counts[0] < 2:
            continue
        rank = (sum(count == counts[0] for count in counts) / len(counts), counts[0])
        if rank > best:
            best, found = rank, separator
    return found


def _names(path: Path, row: list[str], line: int) -> list[str]:
    while row and not row[-1]:
        row.pop()
    for name in row:
        if not name:
            raise BadInput(f"{path}: line {line}: column {row.index(name) + 1} has no name: name it, or delete it")
        if row.count(name) > 1:
            raise BadInput(f"{path}: line {line}: two columns have the name {name!r}: rename one")
    return row


def _lines_of_json(path: Path, text: str, encoding: str) -> TextTable:
    names: dict[str, None] = {}
    rows = []
    for line, each in enumerate(text.split("\n"), start=1):
        if not each.strip():
            continue
        try:
            found = decode_json(each, dict[str, object])
        except msgspec.DecodeError as error:
            raise BadInput(f"{path}: line {line} is not a JSON object: {error}") from None
        names |= dict.fromkeys(found)
        rows.append(TextRow(line, {name: _as_text(value) for name, value in found.items()}))
    filled = (TextRow(row.line, {name: row.cells.get(name, "") for name in names}) for row in rows)
    return TextTable(path, tuple(names), tuple(filled), "", encoding)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
