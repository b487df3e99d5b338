"""Tells files that are not text by their first bytes, and says how to make a table of each. Standard library alone."""

import zipfile
from pathlib import Path

WANTED = "but a table is CSV text or lines of JSON"
HEAD = 512
"""How many first bytes tell what a file is."""

_SHEET = "save each sheet as CSV, and give that"
_UNPACK = "unpack it, and give what is inside"
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or encrypted Excel workbook", _SHEET),
    (0, b"PAR1", "a Parquet file", "write it as CSV, such as COPY (FROM 'FILE') TO 'table.csv' in DuckDB"),
    (0, b"ARROW1", "an Arrow (Feather) file", "write it as CSV"),
    (0, b"SQLite format 3\0", "an SQLite database", "export its tables as CSV"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file", "write its tables as CSV"),
    (0, b"\x93NUMPY", "a NumPy array", "write it as CSV"),
    (0, b"Obj\x01", "an Avro file", "write it as CSV"),
    (0, b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (0, b"BZh", "compressed by bzip2", _UNPACK),
    (0, b"\xfd7zXZ\0", "compressed by xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"%PDF-", "a PDF document", "export the table itself, as CSV"),
    (0, b"{\\rtf", "an RTF document", "export the table itself, as CSV"),
    (0, b"\x89PNG\r\n\x1a\n", "a picture", "export the table itself, as CSV"),
    (0, b"\xff\xd8\xff", "a picture", "export the table itself, as CSV"),
    (0, b"GIF8", "a picture", "export the table itself, as CSV"),
    (0, b"\x7fELF", "a program", "give the file with the table"),
)
_MARKUP = (
    (("<!doctype html", "<html", "<table", "<head", "<body"), "an HTML page"),
    (("<?xml", "<workbook"), "an XML document"),
)
_IN_ZIP = (
    ("xl/", "an Excel workbook", _SHEET),
    ("word/", "a Word document", "export the table itself, as CSV"),
    ("content.xml", "an OpenDocument workbook", _SHEET),
    ("Index/", "a Numbers workbook", _SHEET),
)


def binary_kind(path: Path) -> str:
    """Return what a file is that is not text and what to do, as the end of a sentence; "" if it may be text.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith((b"PK\3\4", b"PK\5\6", b"PK\7\x08")):
        return _zipped(path)
    for offset, magic, what, cure in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return f"is {what}, {WANTED}: {cure}"
    return ""


def text_trouble(text: str) -> str:
    """Return why decoded text is not a table, and what to do, as the end of a sentence; "" if it may be one."""
    start = text[:HEAD].lstrip().lower()
    for begins, what in _MARKUP:
        if start.startswith(begins):
            return f"is {what}, {WANTED}: open it in a spreadsheet, save it as CSV, and give that"
    if start.startswith("[") and start[1:].lstrip()[:1] in ("{", "["):
        return f"is one JSON list, {WANTED}: write one object per line, such as jq -c '.[]' FILE > table.jsonl"
    odd = next((c for c in text[:100_000] if (c < " " and c not in "\t\n\r\f\v") or c == "\x7f"), "")
    return (
        f"is not text (it has the byte {ord(odd):#04x}), {WANTED}: give the file that your program exports"
        if odd
        else ""
    )


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"is a damaged zip archive or workbook, {WANTED}: {_SHEET}"
    for inside, what, cure in _IN_ZIP:
        if any(name.startswith(inside) for name in names):
            return f"is {what}, {WANTED}: {cure}"
    return f"is a zip archive, {WANTED}: {_UNPACK}"
