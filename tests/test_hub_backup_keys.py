"""A hub with keys is backed up and restored by one command each, running or not, and its members stay members."""

from pathlib import Path

from mesh.server import embedded
from tests.support.arenas import write_arena
from tests.support.own_hub import new_hub, run_mesh, running


async def test_a_hub_that_is_lost_is_made_again_with_its_keys_its_members_and_its_log(tmp_path: Path) -> None:
    hub, outside = new_hub(tmp_path / "hub"), tmp_path / "outside"
    folder = str(hub.folder)
    async with running(hub) as first:
        await first.say("open", str(write_arena(tmp_path / "arena")))
        token = await first.invite("observer")
        joined = await run_mesh(outside, "join", token, "--name", "eve")
        assert joined.code == 0, joined
        await first.hub("backup", str(tmp_path / "while-it-runs"))
        members = await first.hub("members")
        log = await first.say("tail", "--no-follow", "--json", "-n", "1000")
    off = await run_mesh(outside, "hub", "backup", str(tmp_path / "backup"), "--dir", folder)
    assert off.code == 0, off
    assert "files with keys" in off.err
    hub.folder.rename(tmp_path / "lost")
    back = await run_mesh(outside, "hub", "restore", str(tmp_path / "backup"), "--dir", folder)
    assert back.code == 0, back
    assert back.out.splitlines()[:2] == [folder, "MESH__hub"]
    again = await run_mesh(outside, "hub", "restore", str(tmp_path / "backup"), "--dir", folder)
    assert (again.code, " 0 streams restored" in again.err) == (0, True), again
    async with running(hub) as second:
        assert await second.hub("members") == members
        assert "eve" in members
        assert await second.say("tail", "--no-follow", "--json", "-n", "1000") == log != ""
        seen = await run_mesh(outside, "tail", "--no-follow", "-n", "1")  # with the credentials of before
        assert seen.code == 0, seen
        assert "opened version 1 of tiny" in seen.out


async def test_a_copy_of_a_hub_does_not_take_the_server_of_the_original_for_its_own(tmp_path: Path) -> None:
    hub, outside, copy = new_hub(tmp_path / "hub"), tmp_path / "outside", tmp_path / "copy"
    async with running(hub) as first:
        await first.hub("backup", str(tmp_path / "backup"))
        for words in (("restore", str(tmp_path / "backup")), ("backup", str(tmp_path / "another"))):
            refused = await run_mesh(outside, "hub", *words, "--dir", str(copy))
            assert refused.code == 2, refused
            assert "but its log is in another folder: end that server first" in refused.err
            assert refused.out == ""
    restored = await run_mesh(outside, "hub", "restore", str(tmp_path / "backup"), "--dir", str(copy))
    assert restored.code == 0, restored
    assert "MESH__hub" in restored.out


async def test_the_log_of_a_home_moves_into_a_hub_whose_streams_are_bounded(tmp_path: Path) -> None:
    home, hub = tmp_path / "home", new_hub(tmp_path / "hub")
    async with embedded(home / "server", sync="1m") as server:
        opened = await run_mesh(home, "open", str(write_arena(tmp_path / "arena")), "--nats", server.url)
        assert opened.code == 0, opened
        log = await run_mesh(home, "tail", "--no-follow", "--json", "-n", "1000", "--nats", server.url)
        copied = await run_mesh(home, "hub", "backup", str(tmp_path / "backup"), "--nats", server.url)
        assert copied.code == 0, copied
    async with running(hub) as started:
        assert "MESH_tiny" in await started.hub("restore", str(tmp_path / "backup"))
        assert await started.say("tail", "--no-follow", "--json", "-n", "1000") == log.out.strip() != ""
        assert "0 streams restored" in (await started.tried("hub", "restore", str(tmp_path / "backup"))).err
        joined = await run_mesh(tmp_path / "eve", "join", await started.invite("observer"), "--name", "eve")
        assert joined.code == 0, joined
        seen = await run_mesh(tmp_path / "eve", "tail", "--no-follow", "-n", "1")
        assert (seen.code, "opened version 1 of tiny" in seen.out) == (0, True), seen
