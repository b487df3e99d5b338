"""What a member may not do is said in one sentence that names who may, by every command; all processes are real."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mesh.errors import BusRefused
from mesh.events import WorkerJoined
from mesh.jetstream import connect
from mesh.jetstream.forbidden import forbidden
from mesh.jetstream.member import MemberCredentials
from mesh.wire import Pattern, Post
from mesh_client.opening import aconnect
from tests.support.arenas import write_arena
from tests.support.own_hub import RunningHub, Said, new_hub, run_mesh, running
from tests.test_bus import request
from tests.test_member_reading import all_of

_OPERATOR = "the hub's own processes alone may, so ask its operator"


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[RunningHub]:
    """A hub that runs, with the arena `tiny`, and a member of each role but the worker's, each with a home."""
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        for role, name in (("observer", "obs"), ("agent", "ann"), ("curator", "carl")):
            done = await run_mesh(tmp_path / name, "join", await hub.invite(role), "--name", name)
            assert done.code == 0, done
        yield hub


@pytest.mark.parametrize(
    ("subject", "deed"),
    [
        ("mesh.a.note.posted.k.eve", "post note.posted in arena a: an agent, a curator or a worker may"),
        ("mesh.a.run.requested.explore.k.eve", "post run.requested in arena a: a curator may"),
        ("mesh.a.critique.posted.k.eve", "post critique.posted in arena a: an agent or a curator may"),
        ("mesh.a.arena.closed.1.eve", f"post arena.closed in arena a: {_OPERATOR}"),
        ("mesh.a.arena.closed.1.operator", f"post arena.closed in arena a: {_OPERATOR}"),
        ("mesh.a.note.posted.k.ann", "post as ann: the credentials are for 'eve': use --name eve"),
        ("meshobj.a.b64.1", "store code or data in arena a: an agent or a worker may"),
        ("meshcall.a.b64", "keep answers of models in arena a: an agent or a curator may"),
        ("$JS.API.CONSUMER.MSG.NEXT.MESH_a.workers_run-requested-audit", "take runs of arena a: a worker may"),
        ("live.a.curve.r-1.eve", "report learning curves in arena a: a worker may"),
        ("$JS.API.STREAM.NAMES", f"list what the server stores: {_OPERATOR}"),
        ("$JS.API.STREAM.UPDATE.MESH_a", f"change the stream MESH_a: {_OPERATOR}"),
        ("$JS.API.STREAM.MSG.GET.MESH_a", f"publish on $JS.API.STREAM.MSG.GET.MESH_a: {_OPERATOR}"),
        ("live.a.here.ann", f"publish on live.a.here.ann: {_OPERATOR}"),
    ],
)
def test_who_may_use_a_subject_is_said_in_words(subject: str, deed: str) -> None:
    said = forbidden("tls://h:4222", MemberCredentials("eve", ("a",)), subject)
    assert said == f"the hub at tls://h:4222 does not let eve {deed}"


def _refused(done: Said, hub: RunningHub, name: str, deed: str) -> None:
    at = f"mesh: the hub at tls://127.0.0.1:{hub.folder.settings.port} does not let {name} {deed}"
    assert (done.code, done.out, done.err.splitlines()[-1]) == (3, "", at)


@pytest.mark.timeout(900)
async def test_each_command_says_who_may_do_what_a_member_may_not(own: RunningHub, tmp_path: Path) -> None:
    for name in ("obs", "ann", "carl"):
        for words, deed in (
            (["close"], "post arena.closed in arena tiny"),
            (["budget", "grant", "3", "--yes"], "post budget.granted in arena tiny"),
            (["gateway", "members"], "see or change its members"),
            (["hub", "backup", "copy"], "list what the server stores"),
        ):
            _refused(await run_mesh(tmp_path / name, *words), own, name, f"{deed}: {_OPERATOR}")
        up = await run_mesh(tmp_path / name, "up", str(tmp_path / "arena"))
        told = (
            f"mesh: mesh up runs a whole swarm, but the credentials are those of {name}, one member of the hub at tls:"
        )
        assert (up.code, up.out, up.err.count("\n"), up.err.startswith(told)) == (2, "", 1, True), up
    who = "an agent, a curator or a worker may"
    for words in (["post", "general", "x"], ["reply", "1", "x"]):
        _refused(await run_mesh(tmp_path / "obs", *words), own, "obs", f"post note.posted in arena tiny: {who}")
    assert (await run_mesh(tmp_path / "ann", "checkout", "baseline", "work")).code == 0
    work = tmp_path / "ann" / "work"
    (work / "train.py").write_text((work / "train.py").read_text() + "# longer\n")
    for name, deed in (
        ("obs", "post proposal.posted in arena tiny: an agent or a curator may"),  # of the baseline, which comes first
        ("carl", "store code or data in arena tiny: an agent or a worker may"),
    ):
        _refused(await run_mesh(tmp_path / name, "propose", str(work), "--title", "x"), own, name, deed)


async def test_a_member_posts_under_its_own_name_without_saying_it(own: RunningHub, tmp_path: Path) -> None:
    hub = own.folder
    async with connect(hub.own_url, credentials=hub.hub_creds) as opened:
        bus = await opened.arena("tiny")
        await bus.post(Post.new("curator", request("r1").event))
        stopped = await run_mesh(tmp_path / "ann", "kill", "r1")
        _refused(stopped, own, "ann", "post run.killed in arena tiny: a curator may")
        stopped = await run_mesh(tmp_path / "carl", "kill", "r1")
        assert (stopped.code, stopped.out) == (0, "r1\n"), stopped
        [killed] = await all_of(bus, Pattern(kind="run.killed"))
        assert killed.subject.author == "carl"
    [ann] = (tmp_path / "ann" / ".config" / "mesh" / "members").glob("*.creds")
    async with aconnect("tiny", nats=hub.own_url, credentials=ann) as client:
        assert client.name == "ann"
        await client.note("hello")
    async with aconnect("tiny", nats=hub.own_url, credentials=ann, name="bob") as client:
        with pytest.raises(BusRefused, match=r"does not let ann post as bob: "):
            await client.note("hello")
    async with aconnect("tiny", nats=hub.own_url, credentials=hub.hub_creds) as client:
        assert client.name == "operator"


async def test_members_are_listed_without_control_characters_and_what_has_ended_says_so(own: RunningHub) -> None:
    await own.invite("observer", "tiny", "--owner", "a\nb\x1b[31m", "--ttl", "0.001s")
    line = next(line for line in (await own.hub("members")).splitlines() if "a ⏎ b" in line)
    assert "observer invitation that has ended, used 0 of 1 tiny   a ⏎ b�[31m" in line


async def test_a_member_reads_the_budget_while_a_worker_is_there(own: RunningHub, tmp_path: Path) -> None:
    async with connect(own.folder.own_url, credentials=own.folder.hub_creds) as opened:
        bus = await opened.arena("tiny")
        joined = WorkerJoined(boot="b7", worker_class="cpu", device="cpu", slots=1, price_per_hour_usd=2.0)
        await bus.post(Post.new("gpu7", joined))
    for name in ("obs", "ann", "carl"):
        done = await run_mesh(tmp_path / name, "budget")
        assert (done.code, done.err, done.out.startswith("arena tiny: about $2.00/h")) == (0, "", True), done


async def test_what_only_a_worker_has_is_refused_before_another_role_joins(own: RunningHub, tmp_path: Path) -> None:
    invitation = await own.invite("observer")
    for words, named in (
        (["--price", "3", "--device", "cpu"], "--device, --price"),
        (["--spot"], "--spot"),
        (["--slots", "2", "--idle-stop", "10m"], "--slots, --idle-stop"),
    ):
        done = await run_mesh(tmp_path / "eve", "join", invitation, "--name", "eve", *words)
        sentence = f"mesh: {named}: only a worker has that, and the invitation is for an observer\n"
        assert (done.code, done.err) == (2, sentence), done
    assert (await run_mesh(tmp_path / "eve", "join", invitation, "--name", "eve")).code == 0


async def test_a_text_that_no_fact_has_room_for_is_named_with_its_bound(own: RunningHub) -> None:
    done = await own.tried(
        "hub", "invite", "worker", "--arena", "tiny", "--owner", "x" * 300, "--dir", str(own.folder.folder)
    )
    assert (done.code, done.err) == (2, "mesh: owner of member.invited is too long: use at most 256 characters\n")
