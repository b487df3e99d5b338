"""A member with good credentials and bad intent, against a real hub: each step is refused or without effect."""

import json
import ssl
import time
from contextlib import suppress
from pathlib import Path

import anyio
import nats.errors
import pytest
from nats.aio.client import Client

from mesh import wire
from mesh.accounts.account_claims import member_account_claims
from mesh.accounts.claims import arena_tags, signed_claims
from mesh.accounts.creds_file import write_creds
from mesh.accounts.issuing import issue, revoke_key
from mesh.accounts.nkey import new_nkey
from mesh.accounts.rights import MOST_PAYLOAD_BYTES, MOST_SUBSCRIPTIONS, ROLE_NAMES
from mesh.errors import BadInput, BusRefused
from mesh.events import (
    ArenaClosed,
    BudgetGranted,
    MemberAdmitted,
    NotePosted,
    ProposalPromoted,
    RunFinished,
    RunStarted,
    Scored,
)
from mesh.jetstream.system import system_account
from mesh.wire import Post
from tests.support.hub_of_members import (
    JS,
    Company,
    Speaker,
    company,
    is_forbidden,
    is_stored,
    new_hub,
    server_of,
    speaker,
)

TREE = "a" * 40
SCORED = RunFinished(run="r1", proposal=TREE, outcome=Scored(value=9.0), worker="gpu8", worker_class="cpu")
STREAM = "MESH_one"
LANE = f"{STREAM}.workers_run-requested-explore"
DESTROYING = (
    f"STREAM.DELETE.{STREAM}",
    f"STREAM.PURGE.{STREAM}",
    f"STREAM.MSG.DELETE.{STREAM}",
    f"STREAM.UPDATE.{STREAM}",
    "STREAM.CREATE.X",
    f"STREAM.MSG.GET.{STREAM}",
    f"STREAM.SNAPSHOT.{STREAM}",
    f"STREAM.RESTORE.{STREAM}",
    f"STREAM.LEADER.STEPDOWN.{STREAM}",
    f"STREAM.PEER.REMOVE.{STREAM}",
    "STREAM.NAMES",
    "STREAM.LIST",
    f"CONSUMER.DELETE.{LANE}",
    f"CONSUMER.CREATE.{STREAM}",
    f"CONSUMER.CREATE.{STREAM}.x",
    f"CONSUMER.DURABLE.CREATE.{STREAM}.x",
    f"CONSUMER.PAUSE.{LANE}",
    f"CONSUMER.RESET.{LANE}",
    f"CONSUMER.UNPIN.{LANE}",
    f"CONSUMER.NAMES.{STREAM}",
    f"CONSUMER.LEADER.STEPDOWN.{LANE}",
    "ACCOUNT.PURGE.x",
    "SERVER.REMOVE",
)


async def says(who: Speaker, author: str, event: object, arena: str = "one") -> tuple[str, bytes]:
    post = Post.new(author, event)  # type: ignore[arg-type]
    return wire.subject_of(arena, post), wire.encode(post)


async def test_nobody_speaks_under_another_name_nor_says_what_its_role_may_not(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        mallory, gpu8 = await hub.member("agent", "mallory"), await hub.member("worker", "gpu8")
        note = NotePosted(channel="general", text="as ann")
        assert is_forbidden(await mallory.say(*await says(mallory, "ann", note)))
        assert is_forbidden(await mallory.say("mesh.one.note.posted.x.ann.mallory", b"{}"))
        assert is_forbidden(await gpu8.say(*await says(gpu8, "gpu7", SCORED)))  # a forged finish
        for number in (1, 2, 3):  # three of them made a run that nobody ran `lost`
            assert is_forbidden(
                await gpu8.say(*await says(gpu8, "gpu7", RunStarted(run="r1", attempt=number, worker="gpu7")))
            )
        for event in (
            SCORED,
            RunStarted(run="r1", attempt=1, worker="mallory"),
            ProposalPromoted(proposal=TREE, round=1, mean=1.0),
            ArenaClosed(version=1, reason="operator"),
            BudgetGranted(n=1, usd=1e9),
            MemberAdmitted(name="friend", shown_as="friend"),
        ):
            assert is_forbidden(await mallory.say(*await says(mallory, "mallory", event))), event
        assert is_forbidden(
            await mallory.say(*await says(mallory, "mallory", MemberAdmitted(name="x", shown_as="x"), wire.HUB_LOG))
        )
        assert await hub.entries() == 0


async def test_another_name_in_the_body_is_stored_and_believed_by_nobody(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        mallory = await hub.member("agent", "mallory")
        data = wire.encode(Post.new("ann", NotePosted(channel="general", text="as ann")))
        assert is_stored(await mallory.say("mesh.one.note.posted.x.mallory", data))
        assert wire.decode("mesh.one.note.posted.x.mallory", data) is None


@pytest.mark.parametrize("role", ROLE_NAMES)
async def test_nobody_destroys_or_commands_the_log(tmp_path: Path, role: str) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        member = await hub.member(role, "mallory")  # type: ignore[arg-type]
        for subject in DESTROYING:
            assert is_forbidden(await member.say(JS + subject, b"{}")), subject
        for subject in (
            "$SYS.REQ.SERVER.PING",
            "$SYS.REQ.CLAIMS.UPDATE",
            "$SYS.REQ.USER.INFO",
            "tail.mesh.one.x.y.z.w",
        ):
            assert is_forbidden(await member.say(subject, b"{}")), subject
        assert await hub.entries() == 0


async def test_headers_neither_remove_hide_nor_delay_what_the_log_has(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        mallory = await hub.member("agent", "mallory")
        for number in range(3):
            assert is_stored(await mallory.say(f"mesh.one.note.posted.{number}.mallory", b"{}"))
        target = {"Nats-Schedule": "@at 2030-01-01T00:00:00Z", "Nats-Schedule-Target": "mesh.one.note.posted.x.ann"}
        for headers in ({"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"}, target):
            answer = await mallory.say("mesh.one.note.posted.9.mallory", b"{}", headers)
            assert "error" in answer, (headers, answer)
        answer = await hub.own.say(f"{JS}STREAM.INFO.{STREAM}")
        assert (answer["state"]["messages"], answer["state"]["last_seq"]) == (3, 3)


async def test_another_arena_and_the_mail_of_others_stay_closed(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        assert is_stored(await hub.own.say("mesh.two.note.posted.x.ann", b'{"secret":1}'))
        mallory, gpu8 = await hub.member("agent", "mallory"), await hub.member("worker", "gpu8")
        for who in (mallory, gpu8):
            for subject in (
                "DIRECT.GET.MESH_two",
                "DIRECT.GET.MESH_two.mesh.two.>",
                "DIRECT.GET.MESHOBJ_two.meshobj.two.p.0",
                "STREAM.INFO.MESH_two",
                "CONSUMER.MSG.NEXT.MESH_two.workers_run-requested-explore",
                "DIRECT.GET.MESH__hub",
            ):
                assert is_forbidden(await who.say(JS + subject, b'{"seq":1}')), subject
            for subject in ("_INBOX_ann.>", "_INBOX.>", ">", "*.>", "$SYS.>", "$JS.>", "mesh.>", "mesh.one.>", "_R_.>",
                            "tail.mesh.two.>", "tail.>", "$JS.EVENT.>", "live.two.>", "live.one.sql"):  # fmt: skip
                assert await who.is_deaf_to(subject), subject
        for subject in (
            "mesh.two.note.posted.x.mallory",
            "meshobj.two.x.0",
            "live.two.sql",
            "live.two.curve.r.mallory",
        ):
            assert is_forbidden(await mallory.say(subject, b"{}")), subject
        assert is_forbidden(await mallory.say(f"{JS}CONSUMER.MSG.NEXT.{LANE}", b'{"batch":1,"no_wait":true}'))
        assert await hub.entries("two") == 1


async def test_no_answer_can_be_sent_into_the_log(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        mallory, gpu8 = await hub.member("agent", "mallory"), await hub.member("worker", "gpu8")
        assert is_stored(await hub.own.say("mesh.one.run.requested.explore.r1.cura", b"{}"))
        before = await hub.entries()
        places = ("mesh.one.note.posted.inj.ann", "mesh.one.run.finished.r1.gpu7", "tail.mesh.one.note.posted.x.ann")
        questions = (
            (mallory, f"{JS}INFO", b""),
            (mallory, f"{JS}STREAM.INFO.{STREAM}", b""),
            (mallory, f"{JS}DIRECT.GET.{STREAM}", b'{"seq":1}'),
            (mallory, f"{JS}DIRECT.GET.{STREAM}.mesh.one.run.requested.explore.r1.cura", b""),
            (mallory, "live.one.sql", b"select 1"),
            (gpu8, f"{JS}CONSUMER.MSG.NEXT.{LANE}", b'{"batch":2,"no_wait":true}'),
        )
        async with hub_ears(hub) as heard:
            for who, subject, data in questions:
                for place in places:
                    await who.nc.publish(subject, data, reply=place)
            for who in (mallory, gpu8):
                await who.nc.flush()
                assert "state" in await who.say(f"{JS}STREAM.INFO.{STREAM}")
            assert await hub.entries() == before
            assert heard == []


class hub_ears:  # noqa: N801  a context
    """What a process of the hub hears on the log's own subjects that the log does not have."""

    def __init__(self, hub: Company) -> None:
        self._hub, self._heard = hub, list[str]()

    async def __aenter__(self) -> list[str]:
        async def take(msg: object) -> None:
            self._heard.append(msg.subject)  # type: ignore[attr-defined]

        self._sub = await self._hub.own.nc.subscribe("mesh.>", cb=take)
        await self._hub.own.nc.flush()
        return self._heard

    async def __aexit__(self, *_: object) -> None:
        await self._sub.unsubscribe()


async def test_a_tag_for_several_arenas_opens_those_and_a_token_without_one_opens_none(tmp_path: Path) -> None:
    async with company(tmp_path / "hub") as hub:
        both = await hub.member("agent", "zoe", ["one", "two"])
        assert is_stored(await both.say("mesh.one.note.posted.z.zoe", b"{}"))
        assert is_stored(await both.say("mesh.two.note.posted.z.zoe", b"{}"))
        key = new_nkey("user")
        said = {"issuer_account": hub.hub.settings.accounts["MEMBERS"], "tags": arena_tags(())}
        token = signed_claims(hub.hub.key("role-agent"), key.public, "user", said, name="nob")
        write_creds(tmp_path / "nob.creds", token, key, hub.hub.ca)
        async with speaker(hub.hub, tmp_path / "nob.creds", "nob") as nobody:
            for subject in ("mesh.one.note.posted.n.nob", f"{JS}STREAM.INFO.{STREAM}", "live.one.sql"):
                assert is_forbidden(await nobody.say(subject, b"{}")), subject


async def test_curves_of_members_reach_the_hub_and_carry_their_author(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        gpu7, gpu8, cura = (
            await hub.member("worker", "gpu7"),
            await hub.member("worker", "gpu8"),
            await hub.member("curator", "cura"),
        )
        at_hub, at_cura = await hub.own.nc.subscribe("live.one.curve.>"), await cura.nc.subscribe("live.one.curve.>")
        await hub.own.nc.flush()
        await cura.nc.flush()
        for subject in ("live.one.curve.r1.gpu7", "live.one.curve.r1"):
            assert is_forbidden(await gpu8.say(subject, b"bad news")), subject
        await gpu7.nc.publish("live.one.curve.r1.gpu7", b"good news")
        assert (await at_hub.next_msg(100)).data == (await at_cura.next_msg(100)).data == b"good news"


async def test_the_hub_calls_the_roll_of_members_and_nobody_else_does(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        gpu7, mallory = await hub.member("worker", "gpu7"), await hub.member("agent", "mallory")

        async def here(msg: object) -> None:
            await gpu7.nc.publish(msg.reply, b"here")  # type: ignore[attr-defined]

        await gpu7.nc.subscribe("live.one.here.b7", cb=here)
        await gpu7.nc.flush()
        assert (await hub.own.nc.request("live.one.here.b7", timeout=100)).data == b"here"
        for subject in ("live.one.here.b7", "live.one.roll.b7.gpu7", "live.one.roll.b1.mallory"):
            assert is_forbidden(await mallory.say(subject, b"")), subject


async def test_limits_close_the_connection_that_exceeds_them_and_no_other(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        ann, big, many = [await hub.member("agent", name) for name in ("ann", "big", "many")]
        assert is_stored(await big.say("mesh.one.note.posted.a.big", b"x" * (MOST_PAYLOAD_BYTES - 200)))
        answer = await big.say("mesh.one.note.posted.b.big", b"x" * (MOST_PAYLOAD_BYTES + 1))
        assert not is_stored(answer), answer
        for number in range(MOST_SUBSCRIPTIONS + 2):
            await many.nc.subscribe(f"_INBOX_many.{number}")
        with anyio.fail_after(100):
            while not any("maximum subscriptions" in word.lower() for word in many.told) and not many.nc.is_closed:
                await anyio.sleep(0.01)
        assert is_stored(await ann.say("mesh.one.note.posted.a.ann", b"{}"))


async def test_streams_without_a_bound_and_beyond_the_account_are_refused(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", []) as hub:
        unbounded = await hub.own.say(f"{JS}STREAM.CREATE.U", b'{"name":"U","subjects":["u"],"storage":"file"}')
        assert unbounded["error"]["err_code"] == 10113
        large = b'{"name":"L","subjects":["l"],"storage":"file","max_bytes":9000000000}'
        assert (await hub.own.say(f"{JS}STREAM.CREATE.L", large))["error"]["err_code"] == 10047


async def test_who_is_revoked_is_cut_off_at_once_and_never_returns(tmp_path: Path) -> None:
    hub = new_hub(tmp_path / "hub")
    key = new_nkey("user")
    creds = tmp_path / "eve.creds"
    wish = {"name": "eve", "role": "agent", "arenas": ["one"], "public": key.public}
    write_creds(creds, issue(hub, **wish), key, hub.ca)  # type: ignore[arg-type]
    with server_of(hub):
        async with (
            system_account(hub.own_url, hub.sys_creds) as system,
            speaker(hub, creds, "eve") as eve,
            speaker(hub, hub.hub_creds, "hub", inbox="_INBOX") as own,
        ):
            assert sorted(each["member"] for each in await system.connections()) == ["eve", "hub", "sys"]
            await system.push_claims(revoke_key(hub, key.public))
            with anyio.fail_after(100):
                while not eve.nc.is_closed:
                    await anyio.sleep(0.001)
            assert not own.nc.is_closed
        with pytest.raises((nats.errors.Error, OSError)):
            async with speaker(hub, creds, "eve"):
                pass
        with pytest.raises(BadInput, match="was revoked for good: use a new one"):
            issue(hub, **wish)  # type: ignore[arg-type]
    with server_of(hub):  # killed and started again, with what it finds on the disk
        with pytest.raises((nats.errors.Error, OSError)):
            async with speaker(hub, creds, "eve"):
                pass
        async with speaker(hub, hub.hub_creds, "hub", inbox="_INBOX"):
            pass


async def test_claims_that_the_operator_has_not_signed_let_nobody_in_and_keep_nobody_out(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        ann = await hub.member("agent", "ann")
        accounts, roles = hub.hub.settings.accounts, {role: new_nkey("account") for role in ROLE_NAMES}
        public = {role: key.public for role, key in roles.items()}
        forged = member_account_claims(new_nkey("operator"), accounts["MEMBERS"], accounts["HUB"], public, {})
        async with system_account(hub.hub.own_url, hub.hub.sys_creds) as system:
            with suppress(BusRefused):
                await system.push_claims(forged)
        key = new_nkey("user")
        said = {"issuer_account": accounts["MEMBERS"], "tags": arena_tags(("one",))}
        token = signed_claims(roles["agent"], key.public, "user", said, name="eve")
        write_creds(tmp_path / "eve.creds", token, key, hub.hub.ca)
        with pytest.raises((nats.errors.Error, OSError)):
            async with speaker(hub.hub, tmp_path / "eve.creds", "eve"):
                pass
        assert is_stored(await ann.say("mesh.one.note.posted.a.ann", b"{}"))
        await hub.member("agent", "bob")


async def test_a_token_that_has_ended_or_was_signed_by_another_hub_opens_nothing(tmp_path: Path) -> None:
    hub, other = new_hub(tmp_path / "hub"), new_hub(tmp_path / "other")
    key = new_nkey("user")
    said = {"issuer_account": hub.settings.accounts["MEMBERS"], "tags": arena_tags(("one",))}
    ended = signed_claims(hub.key("role-agent"), key.public, "user", said, name="eve", until_s=time.time() - 5)
    foreign = signed_claims(other.key("role-agent"), key.public, "user", said, name="eve")
    with server_of(hub):
        for token in (ended, foreign):
            write_creds(tmp_path / "eve.creds", token, key, hub.ca)
            with pytest.raises((nats.errors.Error, OSError)):
                async with speaker(hub, tmp_path / "eve.creds", "eve"):
                    pass


async def test_a_server_with_another_certificate_is_told_nothing(tmp_path: Path) -> None:
    hub, other = new_hub(tmp_path / "hub"), new_hub(tmp_path / "other")
    with server_of(other):
        key = new_nkey("user")
        write_creds(
            tmp_path / "ann.creds", issue(hub, name="ann", role="agent", arenas=["one"], public=key.public), key, hub.ca
        )
        with pytest.raises((nats.errors.Error, OSError)):
            async with speaker(other, tmp_path / "ann.creds", "ann"):
                pass


async def test_nothing_is_said_in_clear_and_nobody_comes_in_without_a_token(tmp_path: Path) -> None:
    hub = new_hub(tmp_path / "hub")
    with server_of(hub):
        async with await anyio.connect_tcp("127.0.0.1", hub.settings.port) as plain:
            info = b""
            while not info.endswith(b"\r\n"):
                info += await plain.receive()
            assert json.loads(info.removeprefix(b"INFO "))["tls_required"]
            await plain.send(b"CONNECT {}\r\nPING\r\n")
            with anyio.fail_after(100), suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                answer = b""
                while True:
                    answer += await plain.receive()
            assert b"PONG" not in answer
        stranger = Client()
        with pytest.raises((nats.errors.Error, OSError)):
            await stranger.connect(
                hub.own_url, tls=ssl.create_default_context(cadata=hub.ca), allow_reconnect=False, connect_timeout=100
            )
