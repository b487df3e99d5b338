"""Machines join a hub by one line: what they get, what is refused and how it is said; all processes are real."""

import base64
import json
import os
import re
import resource
import ssl
import stat
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import nats
import pytest

from gateway.http.limits import PER_HOUR
from mesh.accounts.creds_file import read_creds
from mesh.accounts.nkey import new_nkey
from mesh.invitation import Invitation, read_invitation
from mesh.jetstream.credentials import proof
from mesh.membership import HubMembership, join_words, membership_of, renewal_words
from mesh.ports import free_ports
from mesh.web.connection import REQUEST_S
from tests.support.arenas import write_arena
from tests.support.hub import curl
from tests.support.own_hub import (
    COMMAND,
    RunningHub,
    Said,
    ended,
    env_of,
    joining,
    new_hub,
    run_mesh,
    running,
)
from tests.support.terminal import Terminal


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[RunningHub]:
    """A hub that runs, with the arena `tiny`."""
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        yield hub


async def join(home: Path, *words: str) -> Said:
    return await run_mesh(home, "join", *words)


def credentials(home: Path) -> Path:
    """The only credentials in a home."""
    [found] = (home / ".config" / "mesh" / "members").glob("*.creds")
    return found


async def is_let_in(file: Path, url: str, name: str) -> bool:
    """Whether the server takes credentials."""
    told: list[str] = []

    async def note(error: Exception) -> None:
        told.append(str(error))

    try:
        nc = await nats.connect(
            url,
            inbox_prefix=f"_INBOX_{name}".encode(),
            allow_reconnect=False,
            max_reconnect_attempts=0,
            connect_timeout=30,
            error_cb=note,
            **proof(file),
        )
    except (nats.errors.Error, OSError):
        return False
    await nc.flush()
    await nc.close()
    return True


async def ask(hub: RunningHub, path: str, wish: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Post to the door with a real curl, which knows the hub's CA."""
    door = f"https://127.0.0.1:{hub.folder.settings.door_port}"
    answer = await curl(f"{door}{path}", "--cacert", str(hub.folder.folder / "tls" / "ca.pem"), data=wish)
    return answer.status, answer.json


async def test_one_line_makes_a_member_whose_key_only_its_owner_can_read(own: RunningHub, tmp_path: Path) -> None:
    invitation = await own.invite("observer")
    done = await run_mesh(tmp_path / "ann", "join", "-", "--name", "ann", given=f"{invitation}\n")
    assert (done.code, done.out) == (0, "mesh status\n"), done
    assert "ann joined 127.0.0.1" in done.err
    file = credentials(tmp_path / "ann")
    for path in (file, file.with_suffix(".json")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(path.suffix for path in file.parent.iterdir()) == [".creds", ".json"]
    seed = read_creds(file).seed
    place = f"127.0.0.1:{own.folder.settings.door_port}"
    url = f"tls://127.0.0.1:{own.folder.settings.port}"
    assert membership_of(file) == HubMembership("ann", "observer", ("tiny",), url, place)
    assert await is_let_in(file, url, "ann")
    rows = json.loads(await own.hub("members", "--json"))
    assert [(row["name"], row["role"], row["state"]) for row in rows[1:]] == [("ann", "observer", "member")]
    shown = json.loads((await run_mesh(tmp_path / "ann", "context", "show", "--json")).out)
    assert (shown["name"], shown["arena"], shown["credentials"]) == ("ann", "tiny", str(file))
    log = b"".join(path.read_bytes() for path in (own.folder.folder / "store").rglob("*") if path.is_file())
    assert b"member.admitted" in log
    for secret in (seed, invitation, read_invitation(invitation).secret.hex()):
        assert secret.encode() not in log


async def test_an_invitation_is_used_once_and_a_lost_answer_is_taken_up_by_the_same_key(
    own: RunningHub, tmp_path: Path
) -> None:
    invitation = await own.invite("observer")
    assert (await join(tmp_path / "ann", invitation, "--name", "ann")).code == 0
    again = await join(tmp_path / "ann", invitation, "--name", "ann")
    assert again.code == 0, again
    other = await join(tmp_path / "bob", invitation, "--name", "bob")
    assert (other.code, other.err) == (3, "mesh: this invitation was used before; ask for a new one\n")
    stolen = await join(tmp_path / "eve", await own.invite("observer"), "--name", "ann")
    assert (stolen.code, stolen.err) == (3, "mesh: the name ann is taken; choose another one with --name\n")


async def refused(home: Path, words: list[str], code: int, sentence: str) -> None:
    """Join, and expect one sentence."""
    done = await join(home, *words)
    last = done.err.splitlines()[-1]
    assert (done.code, bool(re.match(rf"mesh: .*{sentence}", last))) == (code, True), (words, done)
    assert "Traceback" not in done.err


async def test_what_no_hub_is_needed_for_is_said_in_one_sentence(tmp_path: Path) -> None:
    away = str(Invitation(os.urandom(16), os.urandom(32), f"127.0.0.1:{free_ports(1)[0]}"))
    for words, code, sentence in (
        ([away[:-3]], 2, r"this is not a whole invitation: it has \d+ characters, and some are missing or wrong"),
        ([away], 3, r"no hub answers at 127\.0\.0\.1:\d+: Connection refused; check that mesh hub start runs there"),
        ([away, "--name", "*"], 2, r"--name is '\*'; use 1 to 63 letters, digits, '_' and '-'"),
    ):
        await refused(tmp_path / "box", words, code, sentence)


async def test_what_is_wrong_with_a_join_is_said_in_one_sentence(own: RunningHub, tmp_path: Path) -> None:
    invitation = await own.invite("worker")
    whole = read_invitation(invitation)
    wrong_ca = str(Invitation(whole.secret, os.urandom(32), whole.place))
    wrong_secret = str(Invitation(os.urandom(16), whole.fingerprint, whole.place))
    past = await own.invite("worker", "tiny", "--ttl", "0.001s")
    for words, code, sentence in (
        ([wrong_ca], 2, r"the hub at 127\.0\.0\.1:\d+ is not the one of this invitation: .*nothing was sent"),
        ([wrong_secret], 3, r"this invitation is not known here; ask for a new one"),
        ([past], 3, r"this invitation has ended; ask for a new one"),
        ([invitation, "--arena", "other"], 2, r"--arena is other; this invitation is for tiny"),
        ([invitation], 2, r"this machine has no GPU that nvidia-smi shows; give --device cpu"),
        (
            [invitation, "--device", "cpu", "--price", "2.69"],
            2,
            r"this costs money, and nobody is at a terminal to agree: give --yes",
        ),
    ):
        await refused(tmp_path / "box", words, code, sentence)
    rows = json.loads(await own.hub("members", "--json"))
    assert [row["state"] for row in rows] == ["invitation, used 0 of 1", "invitation that has ended, used 0 of 1"]
    assert not (tmp_path / "box" / ".config" / "mesh" / "contexts.toml").exists()


async def test_at_a_terminal_one_is_asked_what_a_machine_may_cost_before_the_invitation_is_used(
    own: RunningHub, tmp_path: Path
) -> None:
    invitation = await own.invite("worker")
    words = ("join", invitation, "--name", "gpu7", "--device", "cpu", "--price", "2.69")

    box = tmp_path / "box"

    def say_no() -> int:
        home, own_home, settings = str(box), str(box / ".mesh"), str(box / ".config")
        with Terminal(*words, columns=200, HOME=home, MESH_HOME=own_home, XDG_CONFIG_HOME=settings) as terminal:
            terminal.until(r"machine +cpu-")
            terminal.until(r"about \$2\.69/h; spent \$0\.00.*\nGo on\? \[Y/n\]")
            terminal.press("n\r")
            return terminal.end()[0]

    assert await anyio.to_thread.run_sync(say_no) == 2
    rows = json.loads(await own.hub("members", "--json"))
    assert [row["state"] for row in rows] == ["invitation, used 0 of 1"]


async def test_a_key_that_is_not_proved_and_a_clock_that_is_wrong_are_refused(own: RunningHub) -> None:
    secret = read_invitation(await own.invite("agent")).secret.hex()
    key, other = new_nkey("user"), new_nkey("user")

    def wish(at: float, signer: Any = key) -> dict[str, Any]:
        proved = signer.sign(join_words("ann", key.public, at, secret))
        proved = base64.b64encode(proved).decode()
        return {"secret": secret, "name": "ann", "nkey": key.public, "at": at, "proof": proved}

    now = time.time()
    assert await ask(own, "/api/join", wish(now, other)) == (
        400,
        {"error": "the proof was not signed with the private key of this nkey"},
    )
    status, answer = await ask(own, "/api/join", wish(now - 120))
    clocks = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", answer["error"])
    assert (status, len(set(clocks))) == (400, 2)
    assert "they may differ by 60 s" in answer["error"]
    moved = wish(now) | {"name": "bob"}
    assert (await ask(own, "/api/join", moved))[0] == 400
    status, answer = await ask(own, "/api/join", wish(time.time()))
    assert (status, answer["role"], answer["arenas"]) == (201, "agent", ["tiny"])


async def test_a_key_that_joins_under_several_names_at_a_time_gets_one_of_them(own: RunningHub) -> None:
    secret, key = read_invitation(await own.invite("agent", "tiny", "--uses", "9")).secret.hex(), new_nkey("user")
    answers: list[tuple[int, dict[str, Any]]] = []

    async def join_as(name: str) -> None:
        at = time.time()
        proof = base64.b64encode(key.sign(join_words(name, key.public, at, secret))).decode()
        wish = {"secret": secret, "name": name, "nkey": key.public, "at": at, "proof": proof}
        answers.append(await ask(own, "/api/join", wish))

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(join_as, f"eve{number}")
    assert sorted(status for status, _ in answers) == [201, *[403] * 5]
    rows = json.loads(await own.hub("members", "--json"))
    assert [row["state"] for row in rows] == ["invitation, used 1 of 9", "member"]


async def test_what_a_stranger_sends_to_the_door_is_refused_in_one_sentence(own: RunningHub) -> None:
    secret, key = read_invitation(await own.invite("worker")).secret.hex(), new_nkey("user").public
    never = {"secret": secret, "name": "eve", "nkey": key, "proof": ""}
    for path, wish, sentence in (
        ("/api/join", {**never, "at": 1e300}, "at: Expected float <= 253402300799.0"),
        ("/api/renew", {**never, "at": 1e18}, "at: Expected float <= 253402300799.0"),
        ("/api/renew", {**never, "at": -1e300}, "at: Expected float >= 0.0"),
        ("/api/invitation", {"secret": secret, "price_per_hour_usd": 1e308}, "price_per_hour_usd: Expected float <="),
        ("/api/invitation", {"secret": secret, "slots": 10**30}, "slots: Expected int <= 1000000"),
    ):
        status, answer = await ask(own, path, wish)
        assert (status, answer["error"].startswith(sentence)) == (400, True), (path, wish, answer)


async def test_who_renews_with_keys_that_nobody_knows_has_to_wait_in_the_end(own: RunningHub) -> None:
    door = f"https://127.0.0.1:{own.folder.settings.door_port}/api/renew"
    async with httpx.AsyncClient(verify=ssl.create_default_context(cadata=own.folder.ca), timeout=60) as stranger:

        async def renew() -> int:
            key, at = new_nkey("user"), time.time()
            proof = base64.b64encode(key.sign(renewal_words(key.public, at))).decode()
            return (await stranger.post(door, json={"nkey": key.public, "at": at, "proof": proof})).status_code

        assert [await renew() for _ in range(PER_HOUR["join"] + 2)] == [403] * PER_HOUR["join"] + [429] * 2


async def test_who_never_ends_a_handshake_neither_stays_nor_shuts_the_others_out(own: RunningHub) -> None:
    few = resource.prlimit(own.process.pid, resource.RLIMIT_NOFILE)[0]
    assert few == resource.RLIM_INFINITY or few >= min(16_384, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    port, pause_s = own.folder.settings.door_port, 100 + REQUEST_S
    silent = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(50)]
    secret = read_invitation(await own.invite("worker")).secret.hex()
    assert (await ask(own, "/api/invitation", {"secret": secret}))[0] == 200
    with anyio.fail_after(pause_s):
        for each in silent:
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                assert await each.receive() == b""
            await each.aclose()


async def test_a_killed_hub_knows_its_invitations_members_and_revocations_again(
    own: RunningHub, tmp_path: Path
) -> None:
    used, fresh = await own.invite("observer"), await own.invite("observer", "tiny", "--uses", "2")
    assert (await join(tmp_path / "ann", used, "--name", "ann")).code == 0
    assert (await join(tmp_path / "bob", fresh, "--name", "bob")).code == 0
    assert await own.hub("revoke", "bob", "--reason", "left") == "bob"
    own.process.kill()
    await own.process.wait()
    async with running(own.folder) as hub:
        url = own.folder.server_url
        assert await is_let_in(credentials(tmp_path / "ann"), url, "ann")
        assert not await is_let_in(credentials(tmp_path / "bob"), url, "bob")
        assert (await join(tmp_path / "cid", used, "--name", "cid")).code == 3
        assert (await join(tmp_path / "cid", fresh, "--name", "cid")).code == 0
        states = {row["name"]: row["state"] for row in json.loads(await hub.hub("members", "--json"))}
        assert (states["ann"], states["bob"], states["cid"]) == ("member", "left", "member")


async def test_a_server_that_is_killed_comes_back_with_all_members(own: RunningHub, tmp_path: Path) -> None:
    assert (await join(tmp_path / "ann", await own.invite("observer"), "--name", "ann")).code == 0
    pid = int((own.folder.folder / "server.pid").read_text())
    os.kill(pid, 9)
    with anyio.fail_after(150):
        while not await is_let_in(credentials(tmp_path / "ann"), own.folder.server_url, "ann"):
            await anyio.sleep(0.1)
    assert int((own.folder.folder / "server.pid").read_text()) != pid
    assert (await join(tmp_path / "bob", await own.invite("observer"), "--name", "bob")).code == 0


async def test_who_is_revoked_is_cut_off_at_once_and_renews_nothing(own: RunningHub, tmp_path: Path) -> None:
    home = tmp_path / "ann"
    assert (await join(home, await own.invite("observer"), "--name", "ann")).code == 0
    renewed = await run_mesh(home, "renew")
    assert (renewed.code, renewed.err) == (0, "mesh: the credentials of ann are renewed\n")
    file, closed = credentials(home), anyio.Event()

    async def on_close() -> None:
        closed.set()

    nc = await nats.connect(
        own.folder.server_url,
        inbox_prefix=b"_INBOX_ann",
        allow_reconnect=False,
        connect_timeout=30,
        closed_cb=on_close,
        **proof(file),
    )
    done = await own.tried("hub", "revoke", "ann", "--reason", "its owner left", "--dir", str(own.folder.folder))
    assert done.code == 0, done
    with anyio.fail_after(150):  # its credentials would do for a day
        await closed.wait()
    assert nc.is_closed
    assert not await is_let_in(file, own.folder.server_url, "ann")
    refused = await run_mesh(home, "renew")
    assert (refused.code, refused.err) == (3, "mesh: member ann was revoked: its owner left\n")
    again = await join(tmp_path / "eve", await own.invite("observer"), "--name", "ann")
    assert (again.code, again.err) == (3, "mesh: the name ann is taken; choose another one with --name\n")


async def test_a_hub_without_the_key_that_revokes_says_so_and_goes_on(own: RunningHub, tmp_path: Path) -> None:
    assert (await join(tmp_path / "ann", await own.invite("observer"), "--name", "ann")).code == 0
    file, url, key = credentials(tmp_path / "ann"), own.folder.server_url, own.folder.folder / "keys" / "signer.nk"
    key.rename(tmp_path / "signer.nk")
    done = await own.tried("hub", "revoke", "ann", "--dir", str(own.folder.folder))
    assert (done.code, done.out) == (2, "")
    assert "ann is revoked, but stays connected until its credentials end" in done.err
    assert "has no keys/signer.nk any more: put the file back" in done.err
    refused = await run_mesh(tmp_path / "ann", "renew")
    assert (refused.code, refused.err) == (3, "mesh: member ann was revoked: revoked\n")
    assert own.process.returncode is None
    (tmp_path / "signer.nk").rename(key)
    with anyio.fail_after(150):
        while await is_let_in(file, url, "ann"):
            await anyio.sleep(0.1)
    assert (await join(tmp_path / "bob", await own.invite("observer"), "--name", "bob")).code == 0


async def test_a_hub_ends_on_ctrl_c_and_leaves_no_server(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub")) as hub:
        pid = int((hub.folder.folder / "server.pid").read_text())
        await ended(hub.process)
        assert hub.process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_hub_that_does_not_run_and_a_folder_without_one_are_said(tmp_path: Path) -> None:
    hub = new_hub(tmp_path / "hub")
    away = await run_mesh(tmp_path, "hub", "members", "--dir", str(hub.folder))
    assert (away.code, "does not answer: mesh hub start runs it" in away.err) == (3, True), away
    none = await run_mesh(tmp_path, "hub", "start", "--dir", str(tmp_path))
    assert (none.code, "there is no hub in" in none.err) == (2, True), none
    async with running(hub):
        command = [*COMMAND, "hub", "start", "--dir", str(hub.folder)]
        with anyio.fail_after(100):
            second = await anyio.run_process(command, check=False, env=env_of(tmp_path))
        assert second.returncode == 3
        assert b"another mesh hub start runs the server" in second.stderr


async def test_no_other_user_reads_the_invitation_in_the_list_of_processes(own: RunningHub, tmp_path: Path) -> None:
    home, invitation = tmp_path / "gpu7", await own.invite("worker", "tiny", "--uses", "5")
    home.mkdir()
    words = (invitation, "--name", "gpu7", "--device", "cpu", "--sandbox", "none")
    async with joining(home, words, shows="takes runs of arena tiny") as process:
        listed = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"join\0****" in listed
        assert invitation.encode() not in listed
