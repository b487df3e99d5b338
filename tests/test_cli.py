"""The command line as a user meets it: stdout is data, stderr is talk, and every trouble is one sentence and a code."""

import csv
import inspect
import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from cyclopts import App
from msgspec.structs import replace

from mesh import errors, settings
from mesh.code import CodeStore
from mesh.events import AgentJoined, AnyEvent, NotePosted, Origin, ProposalPosted, RunStarted, WorkerJoined, WorkerLeft
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.testing import BEGAN
from mesh.wire import Post
from mesh_cli.__main__ import ORDER, app, main
from mesh_cli.exit import ExitCode
from tests.support.arenas import ARENA, TRAIN, write_arena
from tests.support.history import finish, promote, request

HEAVY = (
    "mcp",
    "torch",
    "duckdb",
    "litellm",
    "nats",
    "pygit2",
    "numpy",
    "sklearn",
    "optuna",
    "cmaes",
    "matplotlib",
    "prompt_toolkit",
    "rich.live",
    "analytics",
    "anyio",
    "msgspec",
    "rich",
    "scipy",
    "textual",
)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202erm -rf\r\n\x00\tend"
CONTROL = re.compile(r"[^\n -~\u2026\u23ce\ufffd▣◆·▸✔★≡¿]")


class Done(NamedTuple):
    """What a command said and ended with."""

    code: int
    out: str
    err: str


Mesh = Callable[..., Done]


class Lab(NamedTuple):
    """A home whose server runs, with one arena `tiny`: `better` beats `worse`, which was the artifact as it is."""

    home: Path
    url: str
    worse: str
    better: str


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve the store of `home`, and make it the home of every command."""
    server = EmbeddedServer(settings.server_dir(home), "1s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESH_HOME", str(home))
        patch.setenv("XDG_CONFIG_HOME", str(home.parent / "config"))
        patch.delenv("MESH_NATS", raising=False)
        anyio.run(server.ensure)
        try:
            yield server.url
        finally:
            anyio.run(server.stop)


async def fill(home: Path, url: str, folder: Path) -> tuple[str, str]:
    async with connect(url) as hub:
        bus, opened = await open_arena(hub, folder, home=home)
        code = CodeStore(settings.code_dir(home, "tiny"), bus)
        files = {"train.py": TRAIN.replace("1.0 ", "0.5 ").encode()}
        base = opened.base_commit
        made = code.commit(files, parents=[base], message="half", author="ann", at=BEGAN)
        await code.push(made.commit)
        origin = Origin(how="sampler")
        worse = ProposalPosted(tree=opened.base_tree, commit=base, title="as it is", origin=origin)
        better = ProposalPosted(
            tree=made.tree, commit=made.commit, parents=(worse.tree,), title=f"half {HOSTILE}", origin=origin
        )
        events: list[AnyEvent] = [
            AgentJoined(boot="b", role="explorer"),
            worse,
            better,
            *(
                replace(request(run, tree), evaluator=opened.evaluator)
                for run, tree in (("r1", worse.tree), ("r2", better.tree), ("r3", better.tree))
            ),
            WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=1),
            *(RunStarted(run=run, attempt=1, worker="w") for run in ("r1", "r2")),
            replace(finish("r1", worse.tree, 0.75), evaluator=opened.evaluator),
            replace(finish("r2", better.tree, 0.25), evaluator=opened.evaluator),
            WorkerLeft(boot="w"),
            promote(better.tree, "", 1),
            NotePosted(channel="general", text=f"hello {HOSTILE}"),
        ]
        for event in events:
            await bus.post(Post.new("ann", event))
        # An author who talks to terminals, and a fact that nobody knows.
        await hub.link.append("mesh.tiny.evil.posted.k.\x1b[31mred", HOSTILE.encode(), {})
        return worse.tree, better.tree


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab") / "home"
    with serving(home) as url:
        yield Lab(home, url, *anyio.run(fill, home, url, write_arena(home.parent / "arena")))


@pytest.fixture
def mesh(capsys: pytest.CaptureFixture[str]) -> Mesh:
    def call(*words: object) -> Done:
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            return Done(int(ended.code or 0), *capsys.readouterr())
        raise AssertionError("every command ends with a code")

    return call


def commands(within: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Walk every command that does something: its words and its app."""
    for name in within:
        if not name.startswith("-"):
            inner = within[name]
            if inner.default_command is not None:
                yield (*path, name), inner
            yield from commands(inner, (*path, name))


def options(command: App) -> set[str]:
    """The options of a command, without what can only stand at its place."""
    arguments = command.assemble_argument_collection()
    return {a.name for a in arguments if a.field_info.kind is inspect.Parameter.KEYWORD_ONLY}


COMMANDS = dict(commands())
NO_LISTINGS: set[tuple[str, ...]] = {("hub", word) for word in ("backup", "restore", "members")}  # not of a home
NO_LISTINGS |= {(word,) for word in ("check", "checkout", "propose", "wait", "apply", "critique", "post", "reply")}
LISTINGS = [path for path, command in COMMANDS.items() if "--json" in options(command) and path not in NO_LISTINGS]


def refused(done: Done, code: ExitCode, sentence: str) -> None:
    """Check that a command ended with one sentence on stderr, and nothing else."""
    assert (done.code, done.out) == (code, "")
    assert re.fullmatch(rf"mesh: [^\n]*{sentence}[^\n]*\n", done.err), done.err


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_that_can_be_typed(path: tuple[str, ...], mesh: Mesh) -> None:
    done = mesh(*path, "--help")
    assert (done.code, done.err) == (0, "")
    [example] = re.findall(r"Example: (mesh .*)", COMMANDS[path].help)
    assert example in " ".join(done.out.split())
    words = shlex.split(example)[1:]
    assert tuple(words[: len(path)]) == path
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_help_shows_every_command_in_its_group_first_things_first(mesh: Mesh) -> None:
    assert {path[0] for path in COMMANDS} == {name for names in ORDER.values() for name in names}
    text = mesh("--help").out
    titles = re.findall(r"^╭─ ([\w ]+?) ─", text, re.MULTILINE)
    assert titles == [*ORDER, "Options"]
    assert re.findall(r"^│ ([a-z]+)  ", text, re.MULTILINE) == [name for names in ORDER.values() for name in names]


def test_every_expected_error_ends_with_a_code_that_is_written_down() -> None:
    found = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MeshError)]
    assert {ExitCode(kind.exit_code) for kind in found} == {
        ExitCode.FAILED,
        ExitCode.BAD_INPUT,
        ExitCode.NO_LOG,
        ExitCode.QUERY,
        ExitCode.HOST,
        ExitCode.TIMED_OUT,
        ExitCode.CLOSED,
    }


def test_the_command_line_imports_nothing_heavy() -> None:
    probe = f"import mesh_cli.__main__, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=200, check=True)
    assert done.stdout == "[]\n"


def test_every_listing_prints_json(lab: Lab, mesh: Mesh) -> None:
    words: dict[tuple[str, ...], list[str]] = {("sql",): ["SELECT * FROM runs"], ("tail",): ["--no-follow"]}
    words |= {(name,): ["champion"] for name in ("show", "diff", "children")} | {("context", "show"): ["spare"]}
    assert mesh("context", "add", "spare", "--nats", "nats://127.0.0.1:1").code == 0
    printed: dict[tuple[str, ...], list[Any]] = {}
    for path in LISTINGS:
        done = mesh(*path, *words.get(path, []), "--json")
        assert (done.code, done.err) == (0, "")
        printed[path] = [json.loads(line) for line in done.out.splitlines()]
    [status], [standing], [lineage], [answer] = (printed[name,] for name in ("status", "leaderboard", "lineage", "sql"))
    assert (status["arena"], status["state"], status["proposals"], status["champion"]) == (
        "tiny",
        "open",
        2,
        lab.better,
    )
    assert (status["runs_finished"], status["runs_waiting"], status["not_understood"]) == (2, 1, 1)
    assert [(row["rank"], row["proposal"], row["mean"]) for row in standing] == [
        (1, lab.better, 0.25),
        (2, lab.worse, 0.75),
    ]
    assert [(row["depth"], row["proposal"]) for row in lineage] == [(0, lab.better), (1, lab.worse)]
    assert len(answer["rows"]) == 3
    assert answer["truncated"] is False
    assert [(entry["seq"], entry["kind"]) for entry in printed["tail",]][-2:] == [
        (15, "note.posted"),
        (16, "evil.posted"),
    ]
    assert printed["tail",][-2]["post"]["event"]["text"] == f"hello {HOSTILE}"
    assert {path[0] for path in LISTINGS} >= {"status", "tail", "leaderboard", "lineage", "sql"}


def test_what_others_wrote_is_shown_harmlessly(lab: Lab, mesh: Mesh) -> None:
    for words in (
        ["tail", "--no-follow"],
        ["leaderboard"],
        ["lineage"],
        ["status"],
        ["sql", "SELECT title FROM proposals"],
    ):
        done = mesh(*words)
        plain = re.sub(r"[\u2500-\u257f]", "", done.out)
        assert (words, done.code, CONTROL.findall(plain)) == (words, 0, [])
    lines = mesh("tail", "--no-follow", "-n", "2").out.splitlines()
    assert len(lines) == 2
    assert "≡ #general: hello" in lines[0]
    assert lines[0].endswith("rm -rf\ufffd \u23ce \ufffd end")
    assert "(not understood)" in lines[1]


def test_tail_shows_only_what_is_asked_for(lab: Lab, mesh: Mesh) -> None:
    def seqs(*words: str) -> list[int]:
        return [int(line.split()[0]) for line in mesh("tail", "--no-follow", *words).out.splitlines()]

    assert seqs() == list(range(1, 17))
    assert seqs("-n", "0") == []
    assert seqs("-n", "3") == [14, 15, 16]
    assert seqs("--from-seq", "15") == [15, 16]
    assert seqs("--kind", "run.finished") == [11, 12]
    assert seqs("--author", "operator") == [1]


def test_rows_are_data_and_their_number_is_talk(lab: Lab, mesh: Mesh) -> None:
    query = "SELECT proposal, title FROM proposals ORDER BY seq"
    done = mesh("sql", query, "--csv")
    rows = list(csv.reader(io.StringIO(done.out, newline="")))
    assert rows == [["proposal", "title"], [lab.worse, "as it is"], [lab.better, f"half {HOSTILE}"]]
    assert re.fullmatch(r"2 rows in \d+ ms, as of tiny 16\n", done.err)
    done = mesh("sql", query, "--max-rows", "1")
    assert "as it is" in done.out
    assert re.fullmatch(r"1 row, cut at the row limit in \d+ ms, as of tiny 16\n", done.err)


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ("nonsense", ExitCode.BAD_INPUT, 'Unknown command "nonsense"'),
        ("tail --nonsense", ExitCode.BAD_INPUT, "Unknown option: --nonsense"),
        ("tail -n many", ExitCode.BAD_INPUT, "-n: unable to convert"),
        ("tail -n -1", ExitCode.BAD_INPUT, "-n. Must be >= 0"),
        ("tail --kind nonsense", ExitCode.BAD_INPUT, "'nonsense' is not a kind of fact; use arena.opened"),
        ("leaderboard -n -1", ExitCode.BAD_INPUT, "-n. Must be >= 0"),
        ("status --arena nothing", ExitCode.BAD_INPUT, r"no arena 'nothing' on nats://.* \(there are: tiny\)"),
        ("status --arena a.b", ExitCode.BAD_INPUT, "arena is 'a.b'; use 1 to 128 letters"),
        ("status --nats 127.0.0.1:1", ExitCode.NO_LOG, "no NATS server answers at nats://127.0.0.1:1 within 5 s"),
        ("status --nats ftp://x", ExitCode.BAD_INPUT, "'ftp://x' is not a valid address of a NATS server"),
        ("post general ' '", ExitCode.BAD_INPUT, "the text is empty; write"),
        ("reply 99 hello", ExitCode.BAD_INPUT, "arena tiny has no entry 99; use 1 to 16"),
        ("reply 0 hello", ExitCode.BAD_INPUT, "arena tiny has no entry 0"),
        ("reply 11 hello --channel 'a b'", ExitCode.BAD_INPUT, "channel is 'a b'; use 1 to 128 letters"),
        ("tail --grep '['", ExitCode.BAD_INPUT, "is not a regular expression: "),
        (
            "tail --since tomorrow",
            ExitCode.BAD_INPUT,
            "'tomorrow' is not a time; write 30s, 5m, 2h, 1d, or 2026-01-31T12:00",
        ),
        ("tail --since 99999999w", ExitCode.BAD_INPUT, "'99999999w' is not a time"),
        ("tail --until 1h --follow", ExitCode.BAD_INPUT, "--until and --follow exclude each other"),
        ("tail --kind run.* --channel general", ExitCode.BAD_INPUT, "only facts of kind note.posted have a channel"),
        ("tail --kind note.posted --run r1", ExitCode.BAD_INPUT, "no note.posted is about a single run"),
        ("tail --author 'a b'", ExitCode.BAD_INPUT, "author is 'a b'; use 1 to 128 letters"),
        ("tail --proposal zzz", ExitCode.BAD_INPUT, "no proposal of arena tiny starts with 'zzz'"),
        ("top", ExitCode.BAD_INPUT, "mesh top needs a terminal"),
        ("post 'a b' hello", ExitCode.BAD_INPUT, "channel is 'a b'; use 1 to 128 letters"),
        ("post general hello --name a.b", ExitCode.BAD_INPUT, "author is 'a.b'; use 1 to 128 letters"),
        ("lineage zzz", ExitCode.BAD_INPUT, "no proposal of arena tiny starts with 'zzz'"),
        ("open missing", ExitCode.BAD_INPUT, r"missing/arena.toml does not exist: an arena is a folder"),
        ("up missing", ExitCode.BAD_INPUT, r"missing/arena.toml does not exist: an arena is a folder"),
        ("up missing --minutes 0", ExitCode.BAD_INPUT, "--minutes"),
        ("up missing --slots 0", ExitCode.BAD_INPUT, "--slots. Must be >= 1"),
        ("git export /dev/null/below", ExitCode.BAD_INPUT, "/dev/null/below cannot be written"),
        ("git export /proc", ExitCode.BAD_INPUT, "/proc exists and is not empty"),
        ("sql 'SELEC 1'", ExitCode.QUERY, "syntax error"),
        ("sql ''", ExitCode.QUERY, ""),
        ("sql 'SELECT * FROM nowhere'", ExitCode.QUERY, "nowhere"),
        ("sql 'CREATE TABLE t (i INTEGER)'", ExitCode.QUERY, "CREATE"),
        ("sql 'DELETE FROM events'", ExitCode.QUERY, "DELETE"),
        ("sql \"COPY (SELECT 1) TO '/tmp/stolen'\"", ExitCode.QUERY, "COPY"),
        ("sql \"SELECT * FROM read_text('/etc/passwd')\"", ExitCode.QUERY, ""),
        ("sql 'SELECT 1' --json --csv", ExitCode.BAD_INPUT, "--json and --csv exclude each other"),
        ("sql 'SELECT 1' --timeout-s 0", ExitCode.BAD_INPUT, "--timeout-s. Must be > 0"),
    ],
)
def test_bad_input_is_one_sentence_and_a_code(lab: Lab, mesh: Mesh, line: str, code: ExitCode, sentence: str) -> None:
    refused(mesh(*shlex.split(line)), code, sentence)


def test_a_post_of_any_length_but_too_large_is_kept(lab: Lab, mesh: Mesh) -> None:
    refused(mesh("post", "general", "x" * 5_000_000), ExitCode.BAD_INPUT, "has 5,000,.* bytes; use at most 262,144")
    refused(mesh("post", "general", "\udcff"), ExitCode.BAD_INPUT, "Unicode")


def test_a_note_is_read_from_a_pipe_and_its_sequence_is_all_that_is_printed(tmp_path: Path, mesh: Mesh) -> None:
    with serving(tmp_path / "home"):
        assert mesh("open", write_arena(tmp_path / "arena")).code == 0
        command = [sys.executable, "-m", "mesh_cli", "post", "general", "-"]
        done = subprocess.run(command, input=b"bad \xff byte", capture_output=True, timeout=200, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"2\n", b"")
        [entry] = map(json.loads, mesh("tail", "--no-follow", "-n", "1", "--json").out.splitlines())
        assert entry["post"]["event"]["text"] == "bad \ufffd byte"


def test_an_arena_is_opened_once_closed_once_and_opened_again(tmp_path: Path, mesh: Mesh) -> None:
    folder = write_arena(tmp_path / "arena")
    with serving(tmp_path / "home"):
        refused(mesh("status"), ExitCode.BAD_INPUT, "there is no arena yet; mesh open FOLDER opens one")
        first = mesh("open", folder)
        assert re.fullmatch(r"arena tiny is open, version 1, base commit [0-9a-f]{10}\n", first.out)
        assert mesh("open", folder) == first
        assert mesh("leaderboard", "--json").out == "[]\n"
        refused(mesh("lineage"), ExitCode.BAD_INPUT, "arena tiny has no champion yet; name a proposal")
        assert mesh("close") == Done(0, "arena tiny is closed\n", "")
        assert json.loads(mesh("status", "--json").out)["state"] == "closed"
        refused(mesh("close"), ExitCode.BAD_INPUT, "arena tiny is not open")
        assert "version 2" in mesh("open", folder).out
        (folder / "arena.toml").write_text("[arena\n")
        refused(mesh("open", folder), ExitCode.BAD_INPUT, "arena.toml is not valid TOML: ")
        write_arena(folder, arena=ARENA.replace('"tiny"', '"other"'))
        assert mesh("open", folder).code == 0
        refused(mesh("status"), ExitCode.BAD_INPUT, "choose one with --arena: other, tiny")
        assert (
            mesh("sql", "SELECT arena FROM arenas ORDER BY arena", "-F", "jsonl").out
            == '{"arena":"other"}\n{"arena":"tiny"}\n'
        )


def test_where_no_mesh_ever_ran_a_command_says_how_to_start_one(
    tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("MESH_NATS", raising=False)
    for words in (["status"], ["post", "general", "hello"], ["sql", "SELECT 1"], ["open", str(tmp_path)]):
        refused(mesh(*words), ExitCode.NO_LOG, "no mesh runs in .*: start one with `mesh up ARENA`")
    assert not (tmp_path / "none").exists()


def test_the_exported_repository_has_the_champion_checked_out_and_every_proposal(lab: Lab, mesh: Mesh) -> None:
    folder = lab.home.parent / "export"
    done = mesh("git", "export", folder)
    assert (done.code, done.err) == (0, "")
    assert "HEIGHT = 0.5" in (folder / "train.py").read_text()
    refs = subprocess.check_output(["git", "-C", folder, "for-each-ref", "--format=%(refname)"], text=True).split()
    assert {f"refs/proposals/{lab.better}", f"refs/proposals/{lab.worse}", "refs/heads/champion"} <= set(refs)
    refused(mesh("git", "export", folder), ExitCode.BAD_INPUT, "exists and is not empty")
