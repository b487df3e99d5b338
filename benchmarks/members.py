"""How soon a machine that joins a hub works, how soon a member is cut off, and what a flood costs the honest ones.

`redeem_ms` is the median of a redeemed invitation, from the request until the credentials are on disk. `join_to_job_s`
is from the start of `mesh join` until its worker has started its first run, `joined_to_job_s` the part of it after the
hub has admitted it: the worker starts, tries its sandbox and takes the run. `join_to_job_cpu_s` is the CPU time of it,
which says more than the seconds on a machine that others load. `revoke_ms` is the median from the request until the
connection of the member is closed. `flood_s` is how long a member floods until the server takes no more,
`honest_worst_ms` the slowest post of others meanwhile, and `honest_lost` those that were not stored. The hub is
`mesh hub start`, with TLS on loopback.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import psutil
from nats.aio.client import Client

from benchmarks.gateway import ARENA, PROGRAM
from benchmarks.parts.flooding import flood_beside_honest, member_client
from benchmarks.parts.harness import Figures, Goal, say
from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import init_hub
from mesh.bus import ArenaBus
from mesh.events import ArenaOpened, MemberAdmitted, RunRequested, RunStarted
from mesh.invitation import Invitation
from mesh.jetstream import JetStreamHub, connect
from mesh.membership import offer_of, redeem
from mesh.open_arena import open_arena
from mesh.ports import free_ports
from mesh.wire import HUB_LOG, Pattern, Post
from mesh_cli.hub.members import make_invitation, revoke_member

GOALS: dict[str, Goal] = {
    "redeem_ms": ("<=", 100),
    "join_to_job_s": ("<=", 1.0),
    "revoke_ms": ("<=", 100),
    "honest_worst_ms": ("<=", 1000),
    "honest_lost": ("==", 0),
}
_FLOOD_S = 2.0


async def measure(quick: bool) -> Figures:
    """Return how long joins, first jobs and revocations take, and what came of a flood."""
    members, workers = (3, 1) if quick else (15, 5)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        here = Path(name)
        folder = here / "arena"
        folder.mkdir()
        (folder / "arena.toml").write_text(ARENA, encoding="utf-8")
        (folder / "train.py").write_text(PROGRAM, encoding="utf-8")
        ports = free_ports(2)
        hub, _ = init_hub(here / "hub", ["127.0.0.1"], port=ports[0], door_port=ports[1])
        async with (
            _running(hub, here),
            connect(hub.own_url, credentials=hub.hub_creds) as server,
        ):
            bus, opened = await open_arena(server, folder, home=here / "home")
            figures = await _members(hub, here, members)
            figures |= await _first_jobs(hub, server, bus, opened, here, workers)
            return figures | await _flood(hub, bus.arena, here)


async def _members(hub: HubFolder, here: Path, count: int) -> Figures:
    redeemed, cut_off = [], []
    for number in range(count):
        name = f"member-x{number}"
        invitation = await make_invitation(hub, "agent", ["bench"], uses=1, ttl_s=3600, owner="")
        began = time.perf_counter()
        file = await anyio.to_thread.run_sync(_redeemed, invitation, name, here)
        redeemed.append((time.perf_counter() - began) * 1000)
        nc = await member_client(hub.server_url, file, name)
        _, took_s = await revoke_member(hub, name, "measured")
        began = time.perf_counter()
        while not nc.is_closed:
            await anyio.sleep(0.001)
        cut_off.append((took_s + time.perf_counter() - began) * 1000)
    redeem_ms, revoke_ms = statistics.median(redeemed), statistics.median(cut_off)
    say(f"redeemed in {redeem_ms:.0f} ms, cut off {revoke_ms:.0f} ms after the request")
    return {"redeem_ms": redeem_ms, "revoke_ms": revoke_ms}


def _redeemed(invitation: Invitation, name: str, here: Path) -> Path:
    """Redeem an invitation as `mesh join` does, and return the credentials."""
    _, ca = offer_of(invitation, name, here / "members")
    return redeem(invitation, ca, name, here / "members")[1]


async def _first_jobs(
    hub: HubFolder, server: JetStreamHub, bus: ArenaBus, opened: ArenaOpened, here: Path, count: int
) -> Figures:
    whole, after, cpu = list[float](), list[float](), list[float]()
    own = await server.arena(HUB_LOG)
    for number in range(count):
        run, name = f"run-{number}", f"box-x{number}"
        request = RunRequested(
            run=run,
            lane="explore",
            proposal=opened.base_tree,
            commit=opened.base_commit,
            seed=number,
            budget_s=1.0,
            deadline_s=30.0,
            evaluator=opened.evaluator,
        )
        await bus.post(Post.new("curator", request))
        invitation = await make_invitation(hub, "worker", [bus.arena], uses=1, ttl_s=3600, owner="")
        began, head = time.time(), await bus.head()
        async with _joined(here / name, str(invitation), name) as process:
            started = await _time_of(bus, head, RunStarted, run)
            cpu.append(_cpu_s(process))
            whole.append(started - began)
            after.append(started - await _time_of(own, 0, MemberAdmitted, name))
    whole_s, after_s = statistics.median(whole), statistics.median(after)
    say(f"first job {whole_s:.2f} s after mesh join, {after_s:.2f} s after it was admitted")
    return {"join_to_job_s": whole_s, "joined_to_job_s": after_s, "join_to_job_cpu_s": statistics.median(cpu)}


def _cpu_s(process: psutil.Process) -> float:
    """Return the CPU time of a process and those that it has started."""
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    ended = process.cpu_times()
    return sum(each.user + each.system for each in times) + ended.children_user + ended.children_system


async def _time_of(bus: ArenaBus, after: int, kind: type[RunStarted] | type[MemberAdmitted], name: str) -> float:
    """Return the server's time of the fact of a run or a member; wait for it."""
    tag = "run.started" if kind is RunStarted else "member.admitted"
    async for batch in bus.read(after, follow=True, only=[Pattern(kind=tag)]):
        for entry in batch:
            event = entry.post.event if entry.post else None
            if isinstance(event, kind) and name in (getattr(event, "run", ""), getattr(event, "name", "")):
                return entry.time.timestamp()
    raise AssertionError("it follows for ever")


async def _flood(hub: HubFolder, arena: str, here: Path) -> Figures:
    clients: dict[str, Client] = {}
    for name in ("ann", "mallory"):
        invitation = await make_invitation(hub, "agent", [arena], uses=1, ttl_s=3600, owner="")
        file = await anyio.to_thread.run_sync(_redeemed, invitation, name, here)
        clients[name] = await member_client(hub.server_url, file, name)
    found = await flood_beside_honest(arena, clients["ann"], clients["mallory"], _FLOOD_S)
    await clients["ann"].close()
    say(f"a flood of {found.sent:,} messages ended after {found.lasted_s:.2f} s")
    return {
        "flood_s": found.lasted_s,
        "honest_worst_ms": max(found.took_s) * 1000,
        "honest_lost": float(len(found.took_s) - len(found.stored)),
    }


@asynccontextmanager
async def _running(hub: HubFolder, here: Path) -> AsyncIterator[None]:
    command = [sys.executable, "-P", "-m", "mesh_cli", "hub", "start", "--dir", str(hub.folder)]
    env = {**os.environ, "MESH_HOME": str(here / "home")}
    async with await anyio.open_process(command, env=env, stderr=sys.stderr) as process:
        try:
            assert process.stdout
            await process.stdout.receive()
            yield
        finally:
            process.terminate()


@asynccontextmanager
async def _joined(home: Path, invitation: str, name: str) -> AsyncIterator[psutil.Process]:
    home.mkdir()
    command = [sys.executable, "-P", "-m", "mesh_cli", "join", invitation, "--name", name, "--device", "cpu"]
    env = {**os.environ, "HOME": str(home), "MESH_HOME": str(home / ".mesh"), "XDG_CONFIG_HOME": str(home / ".config")}
    async with await anyio.open_process(command, env=env, cwd=home, stdout=sys.stderr, stderr=sys.stderr) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            with suppress(ProcessLookupError):  # the second signal ends it at once
                process.terminate()
                await anyio.sleep(0.1)
                process.terminate()
