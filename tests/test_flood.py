"""A member that floods the hub is revoked by the warden, and honest posts go through meanwhile."""

import json
from pathlib import Path

import anyio

from benchmarks.parts.flooding import flood_beside_honest, member_client
from tests.support.arenas import write_arena
from tests.support.own_hub import RunningHub, new_hub, run_mesh, running
from tests.test_joining import credentials

_FLOOD_S = 5.0
_HONEST_WITHIN_S = 5.0
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
        with anyio.fail_after(30):
            while not (state := await _state_of(hub, "mallory")).startswith("flooded the hub: "):
                assert state == "member", state
        assert await _state_of(hub, "ann") == "member"
        await ann.close()


async def _state_of(hub: RunningHub, name: str) -> str:
    rows = json.loads(await hub.hub("members", "--json"))
    found: str = next(row["state"] for row in rows if row["name"] == name)
    return found
