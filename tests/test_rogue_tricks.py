"""A member tries what a server might do for it: write where it may not, or let it in after it was revoked."""

import json
import time
from pathlib import Path

import anyio
import nats.errors
import pytest
from nats.aio.msg import Msg

from mesh.accounts.claims import arena_tags, signed_claims
from mesh.accounts.creds_file import write_creds
from mesh.accounts.issuing import revoke_key
from mesh.accounts.nkey import new_nkey
from mesh.accounts.rights import ROLE_NAMES
from mesh.jetstream import connect
from mesh.jetstream.system import system_account
from mesh.roll_call import answer_roll_call, roll_call
from tests.support.hub_of_members import JS, company, is_forbidden, is_stored, member_creds, speaker

LANE = "MESH_one.workers_run-requested-explore"


async def test_no_header_makes_the_server_write_where_a_member_may_not(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        mallory = await hub.member("agent", "mallory")
        for number, place in enumerate(
            (
                "mesh.one.note.posted.x.ann",
                "mesh.two.note.posted.x.mallory",
                "tail.mesh.one.note.posted.x.ann",
                "_INBOX_ann.x",
                "$SYS.REQ.USER.INFO",
                f"$JS.ACK.{LANE}.1.1.1.1.1",
            )
        ):
            for subject in (f"mesh.one.note.posted.{number}.mallory", f"{JS}INFO", "live.one.sql"):
                for headers in ({}, {"Nats-Trace-Only": "true"}):
                    answer = await mallory.say(subject, b"{}", {"Nats-Trace-Dest": place, **headers})
                    assert is_forbidden(answer), (place, subject, answer)
        assert await hub.entries() == 0


async def test_who_is_revoked_is_cut_off_also_with_a_token_from_when_the_clock_was_ahead(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        key, creds = new_nkey("user"), tmp_path / "eve.creds"
        said = {"issuer_account": hub.hub.settings.accounts["MEMBERS"], "tags": arena_tags(("one",))}
        ahead = int(time.time()) + 24 * 3600
        token = signed_claims(hub.hub.key("role-agent"), key.public, "user", said, name="eve", issued_s=ahead)
        write_creds(creds, token, key, hub.hub.ca)
        async with speaker(hub.hub, creds, "eve") as eve, system_account(hub.hub.own_url, hub.hub.sys_creds) as system:
            assert is_stored(await eve.say("mesh.one.note.posted.a.eve", b"{}"))
            await system.push_claims(revoke_key(hub.hub, key.public))
            with anyio.fail_after(100):
                while not eve.nc.is_closed:
                    await anyio.sleep(0.001)
        with pytest.raises((nats.errors.Error, OSError)):
            async with speaker(hub.hub, creds, "eve"):
                pass


async def test_a_key_that_looks_like_a_wildcard_takes_no_key_of_others(tmp_path: Path) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        mallory, ann = await hub.member("agent", "mallory"), await hub.member("agent", "ann")
        await mallory.nc._send_command(b"PUB mesh.one.proposal.posted.*.mallory 2\r\n{}\r\n")
        await mallory.nc._flush_pending()
        with anyio.fail_after(100):
            while await hub.entries() < 1:
                await anyio.sleep(0.01)
        for number in range(3):
            headers = {
                "Nats-Expected-Last-Subject-Sequence": "0",
                "Nats-Expected-Last-Subject-Sequence-Subject": f"mesh.one.proposal.posted.k{number}.*",
            }
            assert is_stored(await ann.say(f"mesh.one.proposal.posted.k{number}.ann", b"{}", headers))
            again = await ann.say(f"mesh.one.proposal.posted.k{number}.ann", b"{}", headers)
            assert again["error"]["err_code"] == 10071
        asked = {"last_by_subj": "mesh.one.proposal.posted.k1.*"}
        assert "error" not in await ann.say(f"{JS}DIRECT.GET.MESH_one", json.dumps(asked).encode())
        assert await hub.entries() == 4


@pytest.mark.parametrize("role", [role for role in ROLE_NAMES if role != "observer"])
async def test_nobody_answers_the_roll_for_another_member_nor_takes_its_questions(tmp_path: Path, role: str) -> None:
    async with company(tmp_path / "hub", ["one"]) as hub:
        gpu7, mallory = await hub.member("worker", "gpu7"), await hub.member(role, "mallory")  # type: ignore[arg-type]
        for subject in ("b7.gpu7", "*.gpu7", "*.*", "b7.*", "b7.>", "*.>", ">"):
            assert await mallory.is_deaf_to(f"live.one.roll.{subject}"), subject
        for subject in ("live.one.>", "live.one.*.b7.gpu7", "live.*.roll.*.mallory", "live.one.roll"):
            assert await mallory.is_deaf_to(subject), subject
        taken = list[str]()

        async def repeat(msg: Msg) -> None:
            taken.append(msg.subject)
            await mallory.nc.publish(msg.reply, msg.data or b"here", headers={"Mesh-Last": "1"})

        for queue in ("", "mesh"):
            for subject in ("here.>", "here.b7", "roll.b7.mallory", "roll.*.mallory", "roll.b7.gpu7", "roll.>"):
                await mallory.nc.subscribe(f"live.one.{subject}", queue=queue, cb=repeat)
        await mallory.nc.flush()
        async with connect(hub.hub.own_url, credentials=hub.hub.hub_creds) as own, anyio.create_task_group() as tasks:
            bus = await own.arena("one")
            assert await roll_call(bus, ["b7"], {"b7": "gpu7"}) == frozenset()
            assert await roll_call(bus, ["b7"], {}) == {"b7"}  # of a life of an earlier version, it still may
            assert await roll_call(bus, ["b7"], {"b7": "mallory"}) == {"b7"}  # of itself, it may say what it likes
            del taken[:]
            async with connect(
                hub.hub.own_url, credentials=member_creds(hub.hub, "worker", "gpu8", ["one"])[0]
            ) as there:
                tasks.start_soon(answer_roll_call, await there.arena("one"), "b8", "gpu8")
                with anyio.fail_after(60):
                    while await roll_call(bus, ["b8"], {"b8": "gpu8"}) != {"b8"}:
                        await anyio.sleep(0.05)
                assert [await roll_call(bus, ["b8"], {"b8": "gpu8"}) for _ in range(20)] == [{"b8"}] * 20
                tasks.cancel_scope.cancel()
            assert taken == []
        assert gpu7.told == []
