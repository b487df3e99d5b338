"""The Python client: a script, a notebook or an event loop opens an arena, proposes, waits and reads."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import mesh
from gateway.answers import Outcome
from mesh import settings
from mesh.errors import ArenaIsClosed, BadInput, BusUnavailable, MeshError, NotYet, QueryError, UnknownName
from mesh.events import ArenaClosed, NotePosted, ProposalPromoted
from mesh.server import EmbeddedServer, embedded
from tests.support.arenas import TRAIN
from tests.support.tiny_swarm import in_thread, measuring, open_tiny, posted
from tests.test_wait import kill_and_see_another

LOWER = TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.5")


@pytest.fixture
async def tiny(tmp_path: Path, home: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a server on which the tiny arena is open, which the settings name."""
    monkeypatch.setenv("MESH_NATS", server.url)
    await open_tiny(tmp_path / "tiny", home, server.url)
    return server.url


def test_importing_mesh_loads_nothing_of_the_client_or_of_others(tmp_path: Path) -> None:
    code = (
        "import sys; before = set(sys.modules); import mesh\n"
        "print(sorted(set(sys.modules) - before)); print('connect' in dir(mesh), callable(mesh.connect))\n"
        "try: mesh.conect\nexcept AttributeError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['mesh']", "True True", "module 'mesh' has no attribute 'conect'"]


async def test_a_script_proposes_waits_and_reads_beside_a_real_swarm(home: Path, tiny: str) -> None:
    def script() -> None:
        with mesh.connect("tiny", name="ann") as m:
            proposed = m.propose({"train.py": LOWER}, title="half the height", predicted_gain=0.25)
            assert (proposed.author, proposed.title, proposed.is_new) == ("ann", "half the height", True)
            again = m.propose({"train.py": LOWER.encode()})
            assert (again.proposal, again.is_new) == (proposed.proposal, False)
            outcome = m.wait(proposed, timeout=300)
            assert outcome.ending == "promoted"
            assert outcome.mean == pytest.approx(0.01)
            assert outcome.gain == pytest.approx(0.25)
            assert m.board.champion == proposed.proposal
            while not len(m.sql("FROM leaderboard WHERE mean < 0.02")):
                time.sleep(0.1)  # the projector may lie behind
            rows = m.sql(
                "SELECT author, mean, time FROM leaderboard JOIN proposals USING (arena, proposal, author) LIMIT 1"
            )
            assert rows.columns == ["author", "mean", "time"]
            frame = rows.df()
            assert frame["mean"].tolist() == [pytest.approx(0.01)]
            assert frame["time"].dtype.kind == "M"
            assert [entry.author for entry in m.follow(0, kinds=["proposal.posted"], until=outcome.seq)] == ["ann"] * 2

    async with measuring(home, tiny, "projector"):
        await in_thread(script)


async def test_a_client_works_where_an_event_loop_runs_in_the_same_thread(tiny: str) -> None:
    with mesh.connect() as m:  # this test is a coroutine, as a cell of a notebook is
        assert (m.arena, m.board.seq) == ("tiny", 1)
        await posted(tiny, "bob", NotePosted(channel="general", text="hello"))
        assert [note.text for note in m.board.latest] == ["hello"]


async def test_a_board_stays_as_it_is_until_it_is_asked_for_again(tiny: str) -> None:
    with mesh.connect() as m:
        board = m.board
        await posted(tiny, "bob", NotePosted(channel="general", text="hello"))
        assert len(m.sql("FROM events WHERE kind = 'note.posted'")) == 1  # without a projector: folded here
        assert board.notes == 0
        assert m.board is board
        assert board.notes == 1


WRONG: list[tuple[Callable[[mesh.Client], object], type[MeshError], str]] = [
    (lambda m: m.propose({"train.py": TRAIN}), BadInput, "nothing is changed"),
    (lambda m: m.propose({"score.py": "print(0)"}), BadInput, "score.py is protected"),
    (lambda m: m.propose({"train.py": 1}), BadInput, "the contents of 'train.py' are a int; use str or bytes"),  # type: ignore[dict-item]
    (lambda m: m.propose(), BadInput, "propose takes files or a patch: give one of them"),
    (
        lambda m: m.propose({"train.py": LOWER}, parent="beef"),
        UnknownName,
        "no proposal of arena tiny starts with 'beef'",
    ),
    (lambda m: m.wait("beef", timeout=5), UnknownName, "no proposal of arena tiny starts with 'beef'"),
    (lambda m: m.wait("baseline", timeout=5), UnknownName, "nobody has posted the baseline of arena tiny yet"),
    (lambda m: m.sql("SELEC 1"), QueryError, "SELEC"),
    (lambda m: list(m.follow(-1)), BadInput, "since is -1; use 0"),
    (lambda m: list(m.follow(0, kinds=["run.ended"])), BadInput, "there is no fact of kind 'run.ended'; use "),
]


async def test_every_mistake_is_one_sentence(tiny: str) -> None:
    with mesh.connect() as m:
        for call, kind, sentence in WRONG:
            with pytest.raises(kind) as raised:
                call(m)
            assert sentence in str(raised.value)
            assert "\n" not in str(raised.value)


async def test_a_closed_arena_takes_no_proposals(tiny: str) -> None:
    await posted(tiny, "operator", ArenaClosed(version=1, reason="operator"))
    with mesh.connect() as m, pytest.raises(ArenaIsClosed, match="arena tiny is closed"):
        m.propose({"train.py": LOWER})


@pytest.mark.parametrize(
    ("words", "kind", "sentence"),
    [
        ({"arena": "nanolm"}, UnknownName, "nanolm"),
        ({"nats": "nats://127.0.0.1:1"}, BusUnavailable, "127.0.0.1:1"),
        ({"name": "a.b"}, BadInput, "name is 'a.b'; use 1 to 128 letters"),
        ({"credentials": "/nowhere"}, BadInput, "credentials is '/nowhere', which is not a file"),
    ],
)
async def test_what_cannot_be_opened_is_one_sentence(
    tiny: str, words: dict[str, str], kind: type[MeshError], sentence: str
) -> None:
    with pytest.raises(kind) as raised:
        mesh.connect(**words)
    assert sentence in str(raised.value)


def test_a_folder_without_a_swarm_says_how_to_start_one(tmp_path: Path, home: Path) -> None:
    with pytest.raises(BusUnavailable, match=r"no mesh runs in .*: start one with `mesh up ARENA`"):
        mesh.connect("tiny")


async def test_a_wait_that_takes_too_long_says_what_it_waits_for_and_can_be_repeated(tiny: str) -> None:
    with mesh.connect() as m:
        proposed = m.propose({"train.py": LOWER})
        with pytest.raises(TimeoutError) as raised:
            m.wait(proposed, timeout=0.1)
        assert isinstance(raised.value, NotYet)
        assert isinstance(raised.value.so_far, Outcome)
        assert "is not decided after 0.1 s: place 2 of 2 in the queue" in str(raised.value)


async def test_a_client_that_is_closed_says_so(tiny: str) -> None:
    m = mesh.connect()
    m.close()
    m.close()
    assert repr(m) == "<mesh.Client of arena tiny as operator (closed)>"
    with pytest.raises(BadInput, match=r"the connection is closed; open another one with mesh.connect"):
        m.digest()


async def test_following_goes_on_with_what_comes_and_may_be_left(tiny: str) -> None:
    with mesh.connect() as m:
        seen = m.follow(0)
        assert next(seen).kind == "arena.opened"
        await posted(tiny, "bob", NotePosted(channel="general", text="one"), NotePosted(channel="general", text="two"))
        assert [(entry.author, entry.kind) for entry in (next(seen), next(seen))] == [("bob", "note.posted")] * 2
        seen.close()  # type: ignore[attr-defined]
        assert next(m.follow(2)).event == NotePosted(channel="general", text="two")


async def test_the_async_client_raises_what_its_block_raises(tiny: str) -> None:
    async def work() -> None:
        async with mesh.aconnect(name="ann") as m:
            assert (await m.propose({"train.py": LOWER})).author == "ann"
            assert len(m.board.proposals) == 2  # with the baseline
            assert [entry.kind async for entry in m.follow(0, until=1)] == ["arena.opened"]
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await work()


async def test_a_script_that_never_closes_ends_at_once_and_a_dropped_client_lets_go(tmp_path: Path, tiny: str) -> None:
    code = (
        "import gc, threading, mesh\n"
        "m = mesh.connect(); [first] = [t for t in threading.enumerate() if t.name == 'mesh-client']\n"
        "m = mesh.connect(); gc.collect(); first.join(60); print(first.is_alive())\n"
        "m.sql('SELECT 1')\nraise KeyError('mine')"
    )

    def script() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = await in_thread(script)
    assert (done.returncode, done.stdout) == (1, "False\n"), done.stderr
    assert done.stderr.endswith("KeyError: 'mine'\n"), done.stderr


async def test_a_client_reads_the_code_and_says_what_it_thinks(tiny: str) -> None:
    with mesh.connect(name="ann") as m:
        assert m.files()["train.py"] == TRAIN.encode()  # of the baseline, which nobody has posted
        proposed = m.propose({"train.py": LOWER}, title="half the height")
        assert m.files(proposed)["train.py"] == LOWER.encode()
        assert [file.path for file in m.code(proposed).files if file.may_change] == ["train.py"]
        assert "HEIGHT = 0.5" in m.code(proposed, "train.py").text
        assert "+HEIGHT = 0.5" in m.diff("baseline", proposed).text
        assert [row.proposal for row in m.lineage(proposed).rows][:1] == [proposed.proposal]
        assert m.show(proposed.proposal).about["author"] == "ann"
        judged = m.critique(proposed, "endorse", "the valley is there", confidence=0.9)
        assert (judged.target, judged.author, judged.verdict) == (proposed.proposal, "ann", "endorse")
        noted = m.note("look at the height", about=proposed)
        assert m.note("look at the height", about=proposed).is_new is False
        assert m.reply(noted.posted, "yes").reply_to == noted.posted
        assert (m.status().undecided, m.leaderboard().rows) == (2, ())
        kinds = [entry.kind for entry in m.follow(0, until=m.board.seq)]
        assert kinds[-3:] == ["critique.posted", "note.posted", "note.posted"]


async def test_waiting_and_following_go_on_when_the_server_is_killed_and_started_again(
    tmp_path: Path, home: Path
) -> None:
    folder = settings.server_dir(home)
    async with embedded(folder, sync="1s") as server:
        await open_tiny(tmp_path / "tiny", home, server.url)
        async with mesh.aconnect(name="ann") as m, anyio.create_task_group() as tasks:
            proposed = await m.propose({"train.py": LOWER})
            seen = list[str]()

            async def follow() -> None:
                async for entry in m.follow():
                    seen.append(entry.kind)

            async def decide() -> None:
                for _ in range(2):
                    await kill_and_see_another(folder)
                await posted(server.url, "curator", ProposalPromoted(proposal=proposed.proposal, round=1, mean=0.01))

            tasks.start_soon(follow)
            tasks.start_soon(decide)
            with anyio.fail_after(300):
                assert (await m.wait(proposed)).ending == "promoted"
                while seen != ["proposal.promoted"]:
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()


async def test_ctrl_c_ends_a_wait_at_once(tmp_path: Path, tiny: str) -> None:
    with mesh.connect() as m:
        tree = m.propose({"train.py": LOWER}).proposal
    code = (
        "import mesh\nwith mesh.connect() as m:\n try:\n  print('ready', flush=True)\n"
        f"  m.wait('{tree}')\n except KeyboardInterrupt: print(m.board.seq)\n"
    )
    async with await anyio.open_process([sys.executable, "-c", code], cwd=tmp_path) as process:
        assert process.stdout is not None
        with anyio.fail_after(200):
            said = b""
            while b"ready" not in said:
                said += await process.stdout.receive()
            process.send_signal(signal.SIGINT)
            async for piece in process.stdout:
                said += piece
            assert said.split() == [b"ready", b"3"]
            assert await process.wait() == 0
