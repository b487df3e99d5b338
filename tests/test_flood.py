"""A member that floods the hub is revoked by the warden, and honest posts go through meanwhile."""

import json
import re
from contextlib import suppress
from pathlib import Path

import anyio
import nats.errors
from nats.aio.client import Client

from benchmarks.parts.flooding import flood_beside_honest, member_client
from gateway.warden import USUAL
from mesh.accounts.rights import MOST_SUBSCRIPTIONS
from tests.support.arenas import write_arena
from tests.support.own_hub import RunningHub, new_hub, run_mesh, running
from tests.test_joining import credentials

_AT_ONCE = 9000
"""Messages of a connection that ends at once: fewer than a member may send at once."""
_TIMES = 200
"""Subscriptions of an honest member, each of which receives every post."""
_FLOOD_S = 60.0
_HONEST_WITHIN_S = 20.0
"""On a machine that others load; `python -m benchmarks members` measures it on a quiet one."""


async def test_a_member_that_floods_is_revoked_and_honest_posts_go_through_and_none_is_lost(
    tmp_path: Path,
) -> None:
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        for name in ("ann", "mallory"):
            done = await run_mesh(tmp_path / name, "join", await hub.invite("agent"), "--name", name)
            assert done.code == 0, done
        ann, mallory = [
            await member_client(hub.folder.server_url, credentials(tmp_path / name), name)
            for name in ("ann", "mallory")
        ]
        found = await flood_beside_honest("tiny", ann, mallory, _FLOOD_S)
        figures = f"{found.sent} messages in {found.lasted_s:.2f} s, slowest {max(found.took_s):.2f} s"
        assert found.lasted_s < _FLOOD_S, figures
        assert max(found.took_s) <= _HONEST_WITHIN_S, figures
        assert len(found.stored) == len(found.took_s)
        with anyio.fail_after(200):
            while not (state := await _state_of(hub, "mallory")).startswith("flooded the hub: "):
                assert state == "member", state
        assert await _state_of(hub, "ann") == "member"
        await ann.close()


async def _state_of(hub: RunningHub, name: str) -> str:
    rows = json.loads(await hub.hub("members", "--json"))
    found: str = next(row["state"] for row in rows if row["name"] == name)
    return found


async def test_who_hides_between_two_looks_or_only_listens_is_revoked_too(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        for name, role in (("ann", "agent"), ("mallory", "agent"), ("eve", "observer")):
            done = await run_mesh(tmp_path / name, "join", await hub.invite(role), "--name", name)
            assert done.code == 0, done
        url = hub.folder.server_url
        ann = await member_client(url, credentials(tmp_path / "ann"), "ann")
        for sid in range(_TIMES):
            await ann._send_command(b"SUB tail.mesh.tiny.> %d\r\n" % (1000 + sid))
        await ann.flush()
        number = 0
        with anyio.fail_after(200):
            while await _is_let_in(url, credentials(tmp_path / "mallory"), "mallory", range(number, number + _AT_ONCE)):
                number += _AT_ONCE
        assert number >= USUAL.messages - _AT_ONCE
        with anyio.fail_after(200):
            while ann.stats["in_msgs"] < 2 * USUAL.messages:
                await anyio.sleep(0.1)
        await ann.close()  # who has only received so many messages has sent none of them
        listening: list[Client] = []
        with anyio.fail_after(200), suppress(nats.errors.Error, OSError):
            while not any(each.is_closed for each in listening):
                listening.append(eve := await member_client(url, credentials(tmp_path / "eve"), "eve"))
                for sid in range(MOST_SUBSCRIPTIONS - 12):
                    await eve._send_command(b"SUB tail.mesh.tiny.> %d\r\n" % (1000 + sid))
                await eve.flush()
                await anyio.sleep(0.1)
        with anyio.fail_after(200):
            for name, why in (("mallory", r"flooded the hub: [\d,]+ messages in"), ("eve", r"kept [\d,]+ subscr")):
                while not re.match(why, state := await _state_of(hub, name)):
                    assert state == "member", state
        assert await _state_of(hub, "ann") == "member"
        for each in listening:
            await each.close()


async def _is_let_in(url: str, file: Path, name: str, numbers: range) -> bool:
    """Connect, send some messages, and end the connection at once; tell whether the server allowed it."""
    try:
        nc = await member_client(url, file, name)
        await nc._send_command(b"".join(b"PUB mesh.tiny.note.posted.f%d.mallory 2\r\n{}\r\n" % n for n in numbers))
        await nc.flush()
        await nc.close()
    except (nats.errors.Error, OSError):
        return False
    return True
