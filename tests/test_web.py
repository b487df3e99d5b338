"""The server of the page: whom it answers, who may post, what it streams, and that text stays text."""

import json
import re
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import pytest

from analytics.sql_server import fold_and_answer
from analytics.web import event_stream, view_cache
from analytics.web.event_stream import EventStream, Feed
from analytics.web.serve import serve
from analytics.web.view_cache import ViewCache
from mesh import settings
from mesh.events import NotePosted, Origin, ProposalPosted
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, connect
from mesh.roll_call import Watchman
from mesh.server import EmbeddedServer, embedded
from mesh.sql_protocol import SERVICE
from mesh.web.listening import listen
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.test_cli import HOSTILE, fill

TOKEN = "sixteen-characters"


class Lab(NamedTuple):
    """A page that is served, and the log it is about: `better` beats `worse`, which was the artifact as it is."""

    http: httpx.AsyncClient
    bus: JetStreamBus
    worse: str
    better: str


OpenLab = Callable[[], AbstractAsyncContextManager[Lab]]


@pytest.fixture
def open_lab(home: Path, server: EmbeddedServer) -> OpenLab:
    return partial(serving_lab, home, server)


@asynccontextmanager
async def serving_lab(home: Path, server: EmbeddedServer) -> AsyncIterator[Lab]:
    worse, better = await fill(home, server.url, write_arena(home.parent / "arena"))
    ready = anyio.Event()
    with listen("127.0.0.1", 0) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with connect(server.url) as hub, anyio.create_task_group() as tasks:
            bus = await hub.arena("tiny")

            async def run() -> None:
                await serve(hub, bus, listening, home=home, token=TOKEN, on_ready=ready.set)

            tasks.start_soon(run)
            with anyio.fail_after(200):
                await ready.wait()
            async with httpx.AsyncClient(base_url=address, timeout=60) as http:
                yield Lab(http, bus, worse, better)
            tasks.cancel_scope.cancel()


async def test_the_page_answers_to_names_of_this_host_alone(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        for host in ("localhost", "127.0.0.1:80", "[::1]:8080", "LOCALHOST:1"):
            assert (await lab.http.get("/", headers={"Host": host})).status_code == 200, host
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.nip.io:80", "evil.example:80", "", "[::2]"):
            for path in ("/", "/api/state", "/static/app.js"):
                answer = await lab.http.get(path, headers={"Host": host})
                assert answer.status_code == 421, host
                assert "is not a name of this page" in answer.json()["error"]


async def test_a_page_of_another_origin_may_not_post(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        own = str(lab.http.base_url).rstrip("/")
        for path, body in (("/api/sql", {"sql": "SELECT 1"}), ("/api/note", {"text": "hi"})):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            for origin in ("http://evil.example", "null", f"{own}.evil.example", "http://127.0.0.1:1"):
                answer = await lab.http.post(path, json=body, headers={**headers, "Origin": origin})
                assert answer.status_code == 403, origin
            crossing = {**headers, "Sec-Fetch-Site": "cross-site"}
            assert (await lab.http.post(path, json=body, headers=crossing)).status_code == 403
            assert (await lab.http.post(path, json=body, headers={**headers, "Origin": own})).status_code == 200
            form = {**headers, "Origin": own, "Content-Type": "text/plain"}
            assert (await lab.http.post(path, content=json.dumps(body), headers=form)).status_code == 400


async def test_only_the_token_posts_and_under_the_name_of_the_page(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        note = {"text": "a longer warm-up?", "channel": "ideas", "reply_to": 3}
        head = await lab.bus.head()
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": f"Basic {TOKEN}"},
            {"Authorization": TOKEN},
        ):
            assert (await lab.http.post("/api/note", json=note, headers=headers)).status_code == 401
        assert (await lab.http.post(f"/api/note?token={TOKEN}", json=note)).status_code == 401
        assert await lab.bus.head() == head
        right = {"Authorization": f"Bearer {TOKEN}"}
        answer = await lab.http.post("/api/note", json=note, headers=right)
        assert answer.json() == {"seq": head + 1}
        async with aclosing(lab.bus.read(head)) as batches:
            [entry] = [entry async for batch in batches for entry in batch]
        assert entry.post
        assert (entry.post.author, entry.post.event) == (
            "operator",
            NotePosted(channel="ideas", text="a longer warm-up?", reply_to=3),
        )
        strange = [{"text": "x", "reply_to": number} for number in (-1, 0, 10**6, 10**30)]
        for bad in ({"text": "  "}, {"text": "x", "channel": "a.b"}, {"text": 5}, {"text": "x" * 300_000}, *strange):
            assert (await lab.http.post("/api/note", json=bad, headers=right)).status_code == 400


async def test_every_answer_forbids_what_the_page_does_not_need(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        paths = (
            "/",
            "/static/app.js",
            "/static/vendor/uPlot.iife.min.js",
            "/api/state",
            "/nothing",
            "/static/../app.py",
        )
        answers = [await lab.http.get(path) for path in paths]
        answers.append(await lab.http.get("/", headers={"Host": "evil.example"}))
        for answer in answers:
            rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
            assert rules["default-src"] == rules["script-src"] == rules["style-src"] == "'self'"
            assert rules["frame-ancestors"] == rules["base-uri"] == rules["object-src"] == "'none'"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] in ("no-store", "no-cache")
            assert "server" not in answer.headers
        assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404, 404, 421]
        assert (await lab.http.get("/api/state")).headers["content-type"] == "application/json"


async def test_the_state_is_the_leaderboard_and_the_board_of_the_log(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        state = await settled(lab)
        assert [(row["proposal"], row["state"]) for row in state["standing"]] == [
            (lab.better, "champion"),
            (lab.worse, "confirming"),
        ]
        assert state["arena"]["name"] == "tiny"
        assert (state["counts"]["runs"], state["counts"]["scored"], state["counts"]["proposals"]) == (3, 2, 2)
        assert state["may_post"] is True
        dots = (await lab.http.get("/api/dots")).json()
        assert [row[dots["columns"].index("value")] for row in dots["rows"]] == [0.75, 0.25]
        notes = (await lab.http.get("/api/board")).json()["notes"]
        assert [(note["channel"], note["text"]) for note in notes] == [("general", f"hello {HOSTILE}")]
        assert (await lab.http.get(f"/api/board?before={notes[0]['seq']}")).json()["notes"] == []
        graph = (await lab.http.get("/api/dag")).json()
        assert [(node["id"], node["parents"]) for node in graph["nodes"]] == [
            (lab.worse, []),
            (lab.better, [lab.worse]),
        ]


async def settled(lab: Lab) -> dict[str, Any]:
    """The state when it has caught up with the log."""
    head = await lab.bus.head()
    async with lab.http.stream("GET", "/api/events") as stream:
        lines = stream.aiter_lines()
        with anyio.fail_after(200):
            while True:
                state: dict[str, Any] = (await lab.http.get("/api/state")).json()
                if state["as_of"] >= head and not state["trouble"]:
                    return state
                async for line in lines:
                    if line == "event: state":
                        break


async def test_a_proposal_is_shown_with_its_diff_runs_and_critiques(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        page = (await lab.http.get(f"/api/proposal/{lab.better}")).json()
        assert page["title"] == f"half {HOSTILE}"
        [diff] = page["diffs"]
        assert diff["parent"] == lab.worse
        assert "-HEIGHT = 1.0  # mesh: 0.0..2.0" in diff["lines"]
        assert "+HEIGHT = 0.5  # mesh: 0.0..2.0" in diff["lines"]
        assert [(run["run"], run["state"], run["value"]) for run in page["runs"]] == [
            ("r2", "scored", 0.25),
            ("r3", "waiting", None),
        ]
        assert [parent["proposal"] for parent in page["parents"]] == [lab.worse]
        children = (await lab.http.get(f"/api/proposal/{lab.worse}")).json()["children"]
        assert [child["proposal"] for child in children] == [lab.better]
        lost = ProposalPosted(
            tree="f" * 40, commit="e" * 40, parents=(lab.worse,), title="t", origin=Origin(how="human")
        )
        seq = await lab.bus.post(Post.new("bob", lost))
        await events(lab, seq - 1, 1)
        [diff] = (await lab.http.get(f"/api/proposal/{'f' * 40}")).json()["diffs"]
        assert diff["lines"] == []
        assert diff["trouble"]
        for name in ("nothing", "%3Cscript%3E", "a" * 500):
            answer = await lab.http.get(f"/api/proposal/{name}")
            assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


async def test_sql_only_reads_and_is_bounded(open_lab: OpenLab) -> None:
    async with open_lab() as lab:

        async def ask(sql: Any) -> httpx.Response:
            return await lab.http.post("/api/sql", json={"sql": sql})

        answer = (await ask("SELECT count(*) AS n FROM proposals")).json()
        assert (answer["columns"], answer["rows"]) == (["n"], [[2]])
        many = (await ask("FROM range(5000)")).json()
        assert (len(many["rows"]), many["truncated"]) == (1000, True)
        for statement in (
            "DELETE FROM internal.posts",
            "COPY posts TO '/tmp/x.csv'",
            "SELECT 1; SELECT 2",
            "SELEC",
            "SELECT * FROM read_csv('/etc/passwd')",
        ):
            refused = await ask(statement)
            assert refused.status_code == 422, statement
            assert refused.json()["error"]
        assert (await ask(5)).status_code == 400
        assert (await lab.http.get("/api/sql")).status_code == 405
        assert (await lab.http.get("/api/dag?limit=-1")).status_code == 400


async def events(lab: Lab, after: int, count: int, *, by_header: bool = True) -> list[tuple[int, dict[str, Any]]]:
    """The next facts of the feed, with their ids."""
    headers = {"Last-Event-ID": str(after)} if by_header else {}
    path = "/api/events" if by_header else f"/api/events?after={after}"
    found: list[tuple[int, dict[str, Any]]] = []
    async with lab.http.stream("GET", path, headers=headers) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        with anyio.fail_after(200):
            seq, kind = 0, ""
            async for line in stream.aiter_lines():
                name, _, value = line.partition(": ")
                seq, kind = (int(value) if name == "id" else seq), (value if name == "event" else kind)
                if name == "data" and kind in ("fact", "reset"):
                    found.append((seq, json.loads(value) | {"is": kind}))
                if len(found) == count:
                    break
    return found


async def test_the_feed_resumes_after_the_last_event_without_gap_or_repetition(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        head = await lab.bus.head()
        whole = await events(lab, 0, head, by_header=False)
        assert [seq for seq, _ in whole] == list(range(1, head + 1))
        assert [fact["seq"] for _, fact in whole] == list(range(1, head + 1))
        assert await events(lab, 3, head - 3) == whole[3:]
        sent = [await lab.bus.post(Post.new("ann", NotePosted(channel="general", text=f"n{n}"))) for n in range(5)]
        later = await events(lab, head + 2, 3)
        assert [(seq, fact["event"]["text"]) for seq, fact in later] == [(seq, f"n{n}") for n, seq in enumerate(sent)][
            2:
        ]
        scored = [fact["event"] for _, fact in whole if fact["kind"] == "run.finished"]
        assert [event["value"] for event in scored] == [0.75, 0.25]
        assert "curve" not in scored[0]
        assert "log_tail" not in scored[0]
        assert [fact["event"] for _, fact in whole if fact["kind"] == "evil.posted"] == [None]


async def test_who_was_away_too_long_is_told_to_load_anew(open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_lab() as lab:
        head = await lab.bus.head()
        monkeypatch.setattr(event_stream, "_MISSED", 2)
        [(seq, fact)] = await events(lab, 1, 1)
        assert (seq, fact["is"]) == (head, "reset")
        [(seq, fact)] = await events(lab, 10**9, 1)
        assert (seq, fact["is"]) == (head, "reset")


async def test_a_place_in_the_log_that_is_no_number_is_refused_or_passed_over(open_lab: OpenLab) -> None:
    async with open_lab() as lab:
        assert (await lab.http.get("/api/events?after=-1")).status_code == 400
        async with lab.http.stream("GET", "/api/events?after=0", headers={"Last-Event-ID": "9" * 5000}) as answer:
            assert answer.status_code == 200


async def test_a_projector_that_ends_amid_an_answer_is_told_of_and_its_successor_asked(
    home: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_cache, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(view_cache, "_ANSWER_S", 1.0)
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with connect(server.url) as hub, anyio.create_task_group() as tasks:
        bus = await hub.arena("tiny")
        follower = Follower(bus)
        await follower.catch_up()
        told = Feed(bus, follower)
        shown = ViewCache(bus, follower, told, Watchman(bus, lambda: follower.board))

        async def never(question: bytes) -> bytes:
            await anyio.sleep_forever()
            raise AssertionError

        async def states() -> AsyncGenerator[tuple[str, int]]:
            async with aclosing(told.events(follower.board.seq)) as pieces:
                async for piece in pieces:
                    if piece.startswith(b"event: state"):
                        yield shown.state.trouble, shown.state.as_of

        with anyio.fail_after(200):
            async with anyio.create_task_group() as first:
                first.start_soon(bus.answer, SERVICE, never)
                tasks.start_soon(shown.keep)
                async for trouble, _ in states():
                    if trouble == "the projector has not answered for 0.1 s":
                        break
                monkeypatch.setattr(view_cache, "_ANSWER_S", 60.0)  # on a busy machine, its successor may take long
                first.cancel_scope.cancel()
            tasks.start_soon(partial(fold_and_answer, hub, settings.database(home), on_ready=lambda: None))
            async for trouble, as_of in states():
                if not trouble:
                    assert as_of == follower.board.seq
                    break
        tasks.cancel_scope.cancel()


async def test_a_client_that_takes_nothing_is_dropped(open_lab: OpenLab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_lab() as lab:
        monkeypatch.setattr(event_stream, "STALLED_S", 0.05)
        follower = Follower(lab.bus)
        await follower.catch_up()
        told = Feed(lab.bus, follower)

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                await anyio.sleep_forever()

        async def receive() -> Any:
            await anyio.sleep_forever()

        with anyio.fail_after(100):
            await EventStream(told, 0)({}, receive, send)
        assert told.clients == 0


async def test_the_command_prints_the_address_alone_serves_the_home_itself_and_ends_by_ctrl_c(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_NATS", raising=False)
    async with embedded(settings.server_dir(home), sync="1s") as running:
        await fill(home, running.url, write_arena(home.parent / "arena"))
    command = [sys.executable, "-m", "mesh_cli", "web"]
    async with await anyio.open_process(command) as process, httpx.AsyncClient(timeout=60) as http:
        assert process.stdout
        assert process.stderr
        with anyio.fail_after(200):
            address = ""
            while not address.endswith("\n"):
                address += (await process.stdout.receive()).decode()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", address)
            state = (await http.get(f"{address.strip()}api/state")).json()
            assert (state["arena"]["name"], state["may_post"]) == ("tiny", False)
            note = await http.post(f"{address.strip()}api/note", json={"text": "hi"})
            assert (note.status_code, "read-only" in note.json()["error"]) == (403, True)
            async with http.stream("GET", f"{address.strip()}api/events"):  # an open page does not hold it up
                process.send_signal(signal.SIGINT)
                assert await process.wait() == 0
        assert [piece async for piece in process.stdout] == [piece async for piece in process.stderr] == []


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--token", "short"], 2, "the token has 5 characters, which can be guessed: use 16 or more"),
        (["--token", "-"], 2, "the token is empty; leave --token out to serve a read-only page"),
        (["--host", "192.0.2.1"], 2, "nothing can listen on 192.0.2.1:0: "),
        (["--port", "70000"], 2, "Must be <= 65535"),
        ([], 3, "no mesh runs in "),
    ],
)
async def test_a_mistake_is_one_sentence_and_a_code(home: Path, words: list[str], code: int, sentence: str) -> None:
    done = await anyio.run_process([sys.executable, "-m", "mesh_cli", "web", *words], input=b"\n", check=False)
    said = done.stderr.decode()
    assert (done.returncode, done.stdout, said.count("\n")) == (code, b"", 1), said
    assert said.startswith("mesh: ")
    assert sentence in said
