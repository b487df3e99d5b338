"""Files that owners have: what is not a table is named, with the cure, in one sentence; all tables are read alike."""

import bz2
import gzip
import io
import lzma
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mesh.errors import BadInput
from mesh.own_data.files import read_table
from mesh_cli.setup.new_arena import NewWanted, new_arena

CSV = b"query,docid,rating,text\nred pump,P-1,2,a red pump\n"


def zipped(*names: str) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)
    return whole.getvalue()


def tarred() -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("table.csv"), io.BytesIO())
    return whole.getvalue()


OLE, NOISE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", bytes(range(256)) * 20
REFUSED = {
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel workbook", "save each sheet as CSV"),
    "xls": (OLE + NOISE, "is an old or encrypted Excel workbook", "save each sheet as CSV"),
    "ods": (zipped("mimetype", "content.xml"), "is an OpenDocument workbook", "save each sheet as CSV"),
    "cut xlsx": (zipped("xl/workbook.xml")[:60], "is a damaged zip archive or workbook", "save each sheet as CSV"),
    "docx": (zipped("word/document.xml"), "is a Word document", "export the table itself, as CSV"),
    "zip": (zipped("a.csv", "b.csv"), "is a zip archive", "unpack it, and give what is inside"),
    "empty zip": (zipped(), "is a zip archive", "unpack it"),
    "gz": (gzip.compress(CSV, mtime=0), "is compressed by gzip", "unpack it"),
    "bz2": (bz2.compress(CSV), "is compressed by bzip2", "unpack it"),
    "xz": (lzma.compress(CSV), "is compressed by xz", "unpack it"),
    "tar": (tarred(), "is a tar archive", "unpack it"),
    "parquet": (b"PAR1\x15\0" + NOISE + b"PAR1", "is a Parquet file", "write it as CSV"),
    "sqlite": (b"SQLite format 3\0" + NOISE, "is an SQLite database", "export its tables as CSV"),
    "feather": (b"ARROW1\0\0" + NOISE, "is an Arrow (Feather) file", "write it as CSV"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + NOISE, "is a PDF document", "export the table itself, as CSV"),
    "png": (b"\x89PNG\r\n\x1a\n" + NOISE, "is a picture", "export the table itself, as CSV"),
    "html as xls": (b"\n<html><table><tr><td>query</td></tr></table>", "is an HTML page", "open it in a spreadsheet"),
    "xml": ('<?xml version="1.0"?><Workbook/>'.encode("utf-16"), "is an XML document", "open it in a spreadsheet"),
    "json list": (b'[\n {"query": "a"}]', "is one JSON list", "write one object per line"),
    "random bytes": (NOISE, "text, but a table is CSV text or lines of JSON", ""),
    "control characters": (b"a,b\n\x01\x02,\x03\n", "is not text (it has the byte 0x01)", "give the file that your"),
    "zeros": (bytes(4096), "is not text (it has the byte 0x00)", "give the file"),
    "a picked object": (
        b"\x80\x04\x95\x1d\0\0\0\0\0\0\0}\x94(\x8c\x05query\x94",
        "is not text (it has the byte",
        "give",
    ),
    "nothing": (b"", "is empty: it needs a header and at least one row", ""),
    "blank lines": (b"\n \r\n\n", "is empty: it needs a header and at least one row", ""),
    "a mark alone": (b"\xff\xfe", "is empty: it needs a header and at least one row", ""),
    "a header": (b"query,docid\n", "has a header but no row: export it with its rows", ""),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_a_table_is_named_with_its_cure(tmp_path: Path, kind: str) -> None:
    data, what, cure = REFUSED[kind]
    path = tmp_path / "ratings.csv"
    path.write_bytes(data)
    with pytest.raises(BadInput) as refused:
        read_table(path)
    told = str(refused.value)
    assert told.startswith(f"{path} ")
    assert what in told
    assert cure in told.partition(what)[2]
    assert "\n" not in told
    with pytest.raises(BadInput) as again:  # also as one of a folder
        new_arena("search", tmp_path / "made" / "mine", NewWanted(tmp_path))
    assert str(again.value) == told
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: "\ufeff".encode("utf-16-be") + text.encode("utf-16-be"),
        lambda text: text.encode("utf-32"),
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig") + b"\x1a",
        lambda text: text.replace("\n", "\r").encode("cp1252"),
    ],
    ids=["Excel's Unicode text", "without a mark", "big-endian", "UTF-32", "CR LF and DOS's end", "old Mac"],
)
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_encodings_separators_and_line_ends_are_read_alike(tmp_path: Path, write: object, separator: str) -> None:
    rows = [
        ["query", "docid", "rating", "text"],
        ["Fähre", "P-1", "2", '"rot; schnell, 1|2\tkm"'],
        ["Öl", "P-2", "1", ""],
    ]
    text = "".join(separator.join(row) + "\n" for row in rows)
    assert callable(write)
    (tmp_path / "ratings.csv").write_bytes(write(text))
    found = read_table(tmp_path / "ratings.csv")
    assert found.header == ("query", "docid", "rating", "text")
    assert [row.cells["query"] for row in found.rows] == ["Fähre", "Öl"]
    assert found.rows[0].cells["text"] == "rot; schnell, 1|2\tkm"


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        (
            "ratings.csv",
            b"query\nred pump\n",
            "ratings.csv has one column, 'query', but qrels need more, such as document",
        ),
        ("ratings.csv", b"query docid rating\na b 2\n", "has one column, 'query docid rating'"),
        ("ratings.csv", b'"query:docid:rating"\n"a:b:2"\n', "has one column, 'query:docid:rating'"),
        ("judged.xlsx", zipped("xl/workbook.xml"), "judged.xlsx is an Excel workbook, but"),
        ("qrels.parquet", b"PAR1" + NOISE, "qrels.parquet is a Parquet file, but"),
        ("qrels.tsv.gz", gzip.compress(CSV, mtime=0), "qrels.tsv.gz is compressed by gzip, but"),
    ],
)
def test_a_folder_with_one_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    (tmp_path / "corpus.csv").write_bytes(b"id;text\nP-1;a red pump\n")
    (tmp_path / name).write_bytes(data)
    (tmp_path / ".DS_Store").write_bytes(NOISE)
    (tmp_path / "~$judged.xlsx").write_bytes(NOISE)
    command = [sys.executable, "-m", "mesh_cli", "new", "search", "mine", "--data", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert sentence in done.stderr


def test_a_workbook_beside_its_csv_is_passed_over_and_one_that_is_named_is_not(tmp_path: Path) -> None:
    (tmp_path / "corpus.csv").write_bytes(b"id;text\nP-1;a red pump\n")
    (tmp_path / "corpus.xlsx").write_bytes(zipped("xl/workbook.xml"))
    (tmp_path / "ratings.csv").write_bytes(b"query;docid;rating\nred;P-1;1\n")
    with pytest.raises(BadInput, match="1 queries have a relevant document, but at least 40"):
        new_arena("search", tmp_path / "made" / "mine", NewWanted(tmp_path))
    with pytest.raises(BadInput, match=r"corpus\.xlsx is an Excel workbook"):
        new_arena("search", tmp_path / "made" / "mine", NewWanted(tmp_path, tables=("corpus=corpus.xlsx",)))
