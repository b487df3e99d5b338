"""`mesh sql` as a person and as a program meet it: forms, files, standard input, large answers, the pager."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import duckdb
import pytest

from mesh.jetstream import connect
from mesh_cli.exit import ExitCode
from mesh_cli.sql.statements import split, statements
from tests.support.arenas import write_arena
from tests.support.folding import projecting
from tests.support.terminal import Terminal
from tests.test_cli import HOSTILE, Done, Lab, fill, refused, serving

pytestmark = pytest.mark.timeout(600)  # some tests give twenty commands

COMMAND = [sys.executable, "-m", "mesh_cli", "sql"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("sql") / "home"
    with serving(home) as url:
        yield Lab(home, url, *anyio.run(fill, home, url, write_arena(home.parent / "arena")))


def sql(*words: object, stdin: str = "") -> Done:
    done = subprocess.run(
        [*COMMAND, *map(str, words)], input=stdin, capture_output=True, text=True, timeout=300, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


QUERY = "SELECT run, value, [1, 2] AS list, NULL AS nothing FROM runs WHERE value > 0.5"


def test_each_form_says_the_same(lab: Lab, tmp_path: Path) -> None:
    row = {"run": "r1", "value": 0.75, "list": [1, 2], "nothing": None}
    assert json.loads(sql(QUERY, "-F", "json").out) == {"as_of": {"tiny": 16}, "truncated": False, "rows": [row]}
    assert sql(QUERY, "--json").out == sql(QUERY, "-F", "json").out
    assert [json.loads(line) for line in sql(QUERY, "-F", "jsonl").out.splitlines()] == [row]
    done = subprocess.run([*COMMAND, QUERY, "--csv"], capture_output=True, check=True)
    assert done.stdout == b'run,value,list,nothing\nr1,0.75,"[1,2]",\n'
    assert sql("SELECT true AS t, NULL AS n, 1 AS one", "--csv").out == "t,n,one\ntrue,,1\n"
    done = subprocess.run(
        [*COMMAND, "SELECT 'a' || chr(13) || 'b' AS t, 1 AS n", "--csv"], capture_output=True, check=True
    )
    assert done.stdout == b't,n\n"a\rb",1\n'
    assert list(csv.reader(io.StringIO(sql(QUERY, "-F", "csv").out))) == [list(row), ["r1", "0.75", "[1,2]", ""]]
    assert sql(QUERY, "-F", "markdown").out.splitlines() == [
        "| run | value | list | nothing |",
        "| --- | ---: | --- | --- |",
        "| r1 | 0.75 | [1,2] |  |",
    ]
    assert sql(QUERY).out.splitlines() == [
        "run │ value │ list  │ nothing",
        "────┼───────┼───────┼────────",
        "r1  │  0.75 │ [1,2] │",
    ]
    assert sql(QUERY, "-F", "parquet", "-o", tmp_path / "a.parquet").code == 0
    with duckdb.connect() as db:
        assert db.execute(f"FROM '{tmp_path}/a.parquet'").fetchall() == [("r1", 0.75, [1, 2], None)]


WITHOUT_DUCKDB = "import sys; sys.modules['duckdb'] = None; from mesh_cli.__main__ import main; sys.exit(main())"


async def test_duckdb_is_needed_only_where_no_projector_answers(lab: Lab, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_DUCKDB, "sql", "SELECT run FROM runs WHERE value > 0.5", "--csv"]
    async with connect(lab.url) as hub, projecting(hub, tmp_path / "a.duckdb"):
        assert (await anyio.run_process(command)).stdout == b"run\nr1\n"
    alone = await anyio.run_process(command, check=False)
    refused(Done(alone.returncode, alone.stdout.decode(), alone.stderr.decode()), ExitCode.BAD_INPUT, "needs duckdb")


def test_parquet_keeps_the_types_of_columns(lab: Lab, tmp_path: Path) -> None:
    query = """SELECT time, 1::HUGEINT AS big, INTERVAL 1 DAY AS day, {'a': [1.5]} AS inner, 'x'::BLOB AS blob,
               MAP {'k': 1} AS map, DATE '2026-01-02' AS date, 'nan'::DOUBLE AS nan, kind AS k, kind AS k,
               '{}'::JSON AS j
               FROM events LIMIT 1"""
    assert sql(query, "-F", "parquet", "-o", tmp_path / "a.parquet").code == 0
    with duckdb.connect() as db:
        kinds = [row[:2] for row in db.execute(f"DESCRIBE FROM '{tmp_path}/a.parquet'").fetchall()]
    assert kinds == [
        ("time", "TIMESTAMP"),
        ("big", "DECIMAL(38,0)"),
        ("day", "DOUBLE"),
        ("inner", "STRUCT(a DECIMAL(2,1)[])"),
        ("blob", "VARCHAR"),
        ("map", "MAP(VARCHAR, INTEGER)"),
        ("date", "DATE"),
        ("nan", "DOUBLE"),
        ("k", "VARCHAR"),
        ("k_1", "VARCHAR"),
        ("j", "JSON"),
    ]


def test_an_answer_of_no_rows_has_its_columns_in_every_form(lab: Lab, tmp_path: Path) -> None:
    query = "SELECT run, value FROM runs WHERE false"
    assert sql(query, "-F", "csv").out == "run,value\n"
    assert json.loads(sql(query, "-F", "json").out)["rows"] == []
    assert sql(query).out.splitlines()[0] == "run │ value"
    assert sql(query, "-F", "parquet", "-o", tmp_path / "a.parquet").code == 0
    with duckdb.connect() as db:
        assert db.execute(f"SELECT count(*) FROM '{tmp_path}/a.parquet'").fetchone() == (0,)


def test_a_file_is_written_whole_or_not_at_all(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    done = sql(QUERY, "-F", "csv", "-o", path)
    assert (done.code, done.out, path.read_text()) == (0, "", sql(QUERY, "-F", "csv").out)
    fails = "SELECT CASE WHEN range = 50000 THEN error('boom') ELSE '1' END FROM range(100000)"
    for form in ("csv", "jsonl", "parquet", "table"):
        done = sql(fails, "-F", form, "-o", path, "--max-rows", "0")
        assert (done.code, done.out) == (ExitCode.QUERY, "")
        assert re.fullmatch(r"mesh: [^\n]*boom[^\n]*\n", done.err)
    long = "SELECT repeat('x', 17000000)"
    for form in ("csv", "parquet"):
        done = sql(long, "-F", form, "-o", path)
        assert (done.code, done.out) == (ExitCode.QUERY, "")
        assert re.fullmatch(r"mesh: a row of the answer has 17,000,000 characters; at most [^\n]*\n", done.err)
    assert os.listdir(tmp_path) == ["a.csv"]
    assert path.read_text().startswith("run,value")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ([QUERY, "-F", "parquet"], ExitCode.BAD_INPUT, "--format parquet needs a file; add -o FILE"),
        ([QUERY, "-F", "jsonl", "--csv"], ExitCode.BAD_INPUT, "--format jsonl and --csv exclude each other"),
        ([QUERY, "-o", "/proc/x"], ExitCode.BAD_INPUT, "/proc/x cannot be written"),
        ([QUERY, "-o", "/tmp"], ExitCode.BAD_INPUT, "/tmp is a folder; name a file"),
        ([QUERY, "-f", "x"], ExitCode.BAD_INPUT, "a statement and --file exclude each other"),
        (["-f", "/nowhere.sql"], ExitCode.BAD_INPUT, "/nowhere.sql cannot be read: No such file"),
        ([QUERY, "--max-rows", "-1"], ExitCode.BAD_INPUT, "--max-rows. Must be >= 0"),
        (["SELECT 1; SELECT 2"], ExitCode.QUERY, "exactly one statement, not 2"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(lab: Lab, words: list[str], code: ExitCode, sentence: str) -> None:
    refused(sql(*words), code, sentence)


def test_statements_come_from_a_file_or_a_pipe_one_after_the_other_until_one_fails(lab: Lab, tmp_path: Path) -> None:
    text = "-- first\nSELECT ';' AS a; SELECT 2 AS b;\n\nSELEC 3; SELECT 4 AS d"
    path = tmp_path / "a.sql"
    path.write_text(text)
    for done in (sql("-F", "csv", "-f", path), sql("-F", "csv", stdin=text), sql("-F", "csv", "-f", "-", stdin=text)):
        assert (done.code, done.out) == (ExitCode.QUERY, "a\n;\nb\n2\n")
        assert re.fullmatch(r"(1 row [^\n]*\n){2}mesh: [^\n]*syntax error[^\n]*\n", done.err)
    refused(sql("-o", tmp_path / "b", stdin=text), ExitCode.BAD_INPUT, "one statement, not 4")
    assert sql(stdin="-- nothing\n") == Done(0, "", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a; b", (["a"], " b")),
        ("';' ; \";\";$$;$$; $x$ ; $$ $x$;", (["';'", '";"', "$$;$$", "$x$ ; $$ $x$"], "")),
        ("a -- ;\n; /* ; */ ;b;", (["a -- ;", "b"], "")),
        ("'it''s; ", ([], "'it''s; ")),
        ("1 /* ; ", ([], "1 /* ; ")),
        (";;", ([], "")),
        ("1-2/3$1;", (["1-2/3$1"], "")),
    ],
)
def test_a_statement_ends_at_a_semicolon_that_is_no_text(text: str, expected: tuple[list[str], str]) -> None:
    assert split(text) == expected
    assert statements("a;" + text) == ["a", *expected[0], *([expected[1].strip()] if expected[1].strip() else [])]


def test_a_table_is_cut_at_a_thousand_rows_and_says_so_what_is_for_programs_is_not(lab: Lab) -> None:
    done = sql("FROM range(3000)")
    assert (len(done.out.splitlines()), done.err.startswith("1000 rows, cut at the row limit in ")) == (1002, True)
    assert len(sql("FROM range(3000)", "--max-rows", "0").out.splitlines()) == 3002
    done = sql("FROM range(3000)", "-F", "jsonl")
    assert (len(done.out.splitlines()), done.err.startswith("3000 rows in ")) == (3000, True)
    assert json.loads(sql("FROM range(3000)", "--json").out)["truncated"] is True


def test_a_large_answer_streams_through_little_memory(lab: Lab) -> None:
    # VmHWM and not ru_maxrss: that one begins with the memory of whoever started the process.
    probe = (
        "import pathlib, re, runpy, sys; sys.argv = ['mesh', *sys.argv[1:]]\ntry:\n    runpy.run_module('mesh_cli', "
    )
    probe += "run_name='__main__')\nfinally:\n    print(re.search('VmHWM:\\\\s+(\\\\d+)', "
    probe += "pathlib.Path('/proc/self/status').read_text())[1], file=sys.stderr)"
    query = "SELECT range AS n, repeat('x', 2800) AS text FROM range(250000)"  # 700 MB
    words = [sys.executable, "-c", probe, "sql", query, "-F", "jsonl", "--timeout-s", "60"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        assert asking.stderr is not None
        count = sum(1 for _ in asking.stdout)
        said = asking.stderr.read().splitlines()
    assert (count, asking.returncode) == (250_000, 0), said
    assert int(said[-1]) / 1024 < 400  # MB, of a process that folds, asks, answers and prints


def test_a_table_too_wide_for_the_terminal_is_a_block_per_row(lab: Lab) -> None:
    query = "SELECT proposal, title, author, origin FROM proposals"
    with Terminal("sql", query, "--no-pager", lines=50, columns=60) as terminal:
        narrow = terminal.rest()
    assert re.search(r"── 1 ─+\nproposal │ [0-9a-f]{40}\ntitle    │ ", narrow)
    with Terminal("sql", query, "--no-pager", lines=50, columns=200) as terminal:
        wide = terminal.rest()
    assert "── 1 ─" not in wide
    assert re.search(r"proposal +│ title", wide)
    assert not set("\x1b\x07\x9b") & set(wide + narrow)
    assert HOSTILE[0] not in wide


def test_what_is_longer_than_the_screen_goes_through_the_pager(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", "sed 's/^/paged /'")
    with Terminal("sql", "FROM range(30)", lines=20) as terminal:
        assert terminal.rest().count("paged ") == 32
    with Terminal("sql", "FROM range(3)", lines=20) as terminal:
        assert "paged" not in terminal.rest()
    with Terminal("sql", "FROM range(30)", "--no-pager", lines=20) as terminal:
        assert "paged" not in terminal.rest()
    monkeypatch.setenv("PAGER", "head -2")
    with Terminal("sql", "FROM range(30)", lines=20) as terminal:
        assert "Error" not in terminal.rest()
        assert terminal.code() == 0
