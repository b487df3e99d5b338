"""What runs with a member's credentials renews them by itself, and ends where it is a member no longer."""

import time
from pathlib import Path

import anyio
import pytest

from mesh.accounts.claims import user_claims_of
from mesh.accounts.creds_file import read_creds
from mesh.errors import BusRefused
from mesh.jetstream import connect
from tests.support.arenas import write_arena
from tests.support.own_hub import RunningHub, new_hub, run_mesh, running
from tests.test_joining import credentials

_LIFE_S = 8


async def _joined(hub: RunningHub, home: Path) -> Path:
    await hub.say("open", str(write_arena(hub.folder.folder.parent / "arena")))
    done = await run_mesh(home, "join", await hub.invite("observer"), "--name", "ann")
    assert done.code == 0, done
    return credentials(home)


async def test_credentials_are_renewed_at_half_of_their_life_and_the_connection_outlives_them(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub"), "--life", f"{_LIFE_S}s") as hub:
        file = await _joined(hub, tmp_path / "ann")
        first = user_claims_of(read_creds(file).jwt)
        assert first.until_s - first.issued_s == pytest.approx(_LIFE_S, abs=1)
        async with connect(hub.folder.server_url, credentials=file) as member:
            with anyio.fail_after(120):
                while time.time() < first.until_s + _LIFE_S:
                    assert await member.arenas() == ["tiny"]
                    await anyio.sleep(0.2)
        last = user_claims_of(read_creds(file).jwt)
        assert last.public == first.public
        assert last.issued_s > first.until_s - _LIFE_S / 2


async def test_credentials_that_have_ended_are_renewed_before_a_command_connects(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub"), "--life", "5s") as hub:
        file = await _joined(hub, tmp_path / "ann")
        end = user_claims_of(read_creds(file).jwt).until_s
        while time.time() < end + 1:
            await anyio.sleep(0.1)
        async with connect(hub.folder.server_url, credentials=file) as member:
            assert await member.arenas() == ["tiny"]


async def test_a_process_of_a_member_that_is_revoked_ends_and_says_why(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub")) as hub:
        file = await _joined(hub, tmp_path / "ann")

        async def stay_connected() -> None:
            async with connect(hub.folder.server_url, credentials=file):
                await hub.hub("revoke", "ann", "--reason", "she left")
                await anyio.sleep_forever()

        with pytest.raises(BusRefused, match="member ann was revoked: she left"), anyio.fail_after(200):
            await stay_connected()
        again = await run_mesh(tmp_path / "ann", "status")
        assert (again.code, again.err.count("\n")) == (3, 1), again
