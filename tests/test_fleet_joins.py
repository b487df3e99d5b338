"""The programs in the files of `deploy/` join a real hub and end by themselves; their packages are there already."""

import json
import os
import re
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
import yaml

from mesh.events import AgentJoined, WorkerJoined, WorkerLeft
from mesh.jetstream import connect
from tests.support.arenas import write_arena
from tests.support.follower import ROOT
from tests.support.own_hub import RunningHub, ended, env_of, new_hub, run_mesh, running

DEPLOY = ROOT / "deploy"
IDLE = "4s"


class Box:
    """A machine on which a file of a fleet starts a worker; its home has `uvx`, `mesh` and the invitation."""

    def __init__(self, folder: Path, invitation: str, *, role: str = "worker") -> None:
        self.home = folder
        tools = folder / "bin"
        tools.mkdir(parents=True)
        self.token = folder / "token"
        self.token.write_text(invitation)
        (folder / ".config" / "mesh").mkdir(parents=True)
        (folder / ".config" / "mesh" / "fleet-token").write_text(invitation)
        python = f"PYTHONPATH='{ROOT}' '{sys.executable}' -P -m mesh_cli"
        # A machine of these tests has no GPU, so the worker is told to take cores.
        more = '[ "$1" = join ] && set -- "$@" --device cpu --slots 1' if role == "worker" else ""
        (tools / "mesh").write_text(f'#!/bin/sh\n{more}\nexec env {python} "$@"\n')
        (tools / "uvx").write_text('#!/bin/sh\n[ "$1" = --from ] || exit 9\nshift 2\nexec "$@"\n')
        (tools / "python").write_text(f"#!/bin/sh\nexec env PYTHONPATH='{ROOT}' '{sys.executable}' -P \"$@\"\n")
        for tool in tools.iterdir():
            tool.chmod(0o755)
        nowhere = "127.0.0.1:9"
        self.env = env_of(
            folder,
            {
                "PATH": f"{tools}:{os.environ['PATH']}",
                "MESH_TOKEN": invitation,
                "MESH_IDLE_STOP": IDLE,
                "MESH_PACKAGE": "mesh-swarm",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{nowhere}",
                "GCE_METADATA_HOST": nowhere,
                "TMPDIR": str(folder),
            },
        )

    def compose(self) -> list[str]:
        command = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["worker"]["command"]
        return [word.replace("$$", "$").replace("/run/secrets/token", str(self.token)) for word in command]

    def kubernetes(self) -> list[str]:
        manifest = yaml.safe_load((DEPLOY / "kubernetes" / "workers.yaml").read_text())
        [container] = manifest["spec"]["jobTargetRef"]["template"]["spec"]["containers"]
        return [
            *container["command"],
            *(word.replace("--idle-stop 2m", f"--idle-stop {IDLE}") for word in container["args"]),
        ]

    def skypilot(self) -> list[str]:
        return ["bash", "-c", yaml.safe_load((DEPLOY / "skypilot.yaml").read_text())["run"]]

    def slurm(self) -> list[str]:
        return ["bash", str(DEPLOY / "slurm.sbatch")]

    def colab(self) -> list[str]:
        cells = json.loads((DEPLOY / "colab.ipynb").read_text())["cells"]
        [line] = [line[1:] for cell in cells for line in cell["source"] if line.startswith("!")]
        return ["sh", "-ec", line.replace("--idle-stop 10m", f"--idle-stop {IDLE}")]

    def systemd(self) -> list[str]:
        [start] = re.findall(
            r"^ExecStart=(.*)$", (DEPLOY / "systemd" / "mesh-worker.service").read_text(), re.MULTILINE
        )
        words = re.fullmatch(r"/bin/sh -ec '(.*)' sh %l", start)
        assert words
        program = words[1].replace("$$", "$").replace("/opt/mesh/bin/", "")
        return ["sh", "-ec", program, "sh", "own-machine"]


@pytest.mark.greedy
@pytest.mark.timeout(900)
async def test_one_invitation_starts_a_worker_by_every_file_and_each_leaves_when_it_was_idle(tmp_path: Path) -> None:
    kinds = ["compose", "kubernetes", "skypilot", "slurm", "colab"]
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        invitation = await hub.invite("worker", "tiny", "--uses", "50")
        boxes = {kind: Box(tmp_path / kind, invitation) for kind in kinds}
        async with AsyncExitStack() as stack:
            started = []
            for kind, box in boxes.items():
                command = [word.replace(":9101", "0") for word in getattr(box, kind)()]
                log = stack.enter_context((box.home / "log").open("wb"))
                opening = await anyio.open_process(command, env=box.env, cwd=box.home, stdout=log, stderr=log)
                process = await stack.enter_async_context(opening)
                stack.push_async_callback(ended, process)
                started.append((box, process))
            for box, process in started:
                with anyio.fail_after(200):
                    code = await process.wait()
                assert code == 0, (box.home / "log").read_text()
        joined, left = await members(hub)
        assert len({each.boot for each in joined}) == len(kinds)
        assert [each.reason for each in left] == ["idle"] * len(kinds)


@pytest.mark.timeout(600)
async def test_the_unit_of_a_machine_of_ones_own_stays_until_it_is_stopped(tmp_path: Path) -> None:
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        box = Box(tmp_path / "own", await hub.invite("worker"))
        (box.home / "creds").mkdir()
        (box.home / "creds" / "fleet-token").write_text(box.token.read_text())
        env = {**box.env, "CREDENTIALS_DIRECTORY": str(box.home / "creds")}
        with (box.home / "log").open("wb") as log:
            async with await anyio.open_process(
                box.systemd(), env=env, cwd=box.home, stdout=log, stderr=log
            ) as process:
                with anyio.fail_after(200):
                    while not (await members(hub))[0]:
                        assert process.returncode is None, (box.home / "log").read_text()
                        await anyio.sleep(0.1)
                await ended(process, signal.SIGTERM)
                assert process.returncode == 0, (box.home / "log").read_text()
        [left] = (await members(hub))[1]
        assert left.reason == "drained"


@pytest.mark.timeout(900)
async def test_the_agents_of_compose_and_of_a_unit_join_each_by_its_own_name(tmp_path: Path) -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    unit = (DEPLOY / "systemd" / "mesh-agent@.service").read_text()
    assert "MESH_CONTEXT=%i-%l\n" in unit
    [start] = re.findall(r"^ExecStart=/opt/mesh/bin/(.*)$", unit, re.MULTILINE)
    async with running(new_hub(tmp_path / "hub")) as hub:
        await hub.say("open", str(write_arena(tmp_path / "arena")))
        async with AsyncExitStack() as stack:
            for name, role in (("curator", "curator"), ("explorer", "agent"), ("critic", "agent")):
                box = Box(tmp_path / name, await hub.invite(role), role=role)
                box.env |= {"XDG_CONFIG_HOME": str(box.home / ".config"), "MESH_ROLE": name}
                if name == "critic":  # by the unit
                    tried = await run_mesh(
                        box.home, "join", box.token.read_text(), "--name", f"{name}-own", env=box.env
                    )
                    assert tried.code == 0, tried
                    command = ["sh", "-ec", f"MESH_CONTEXT={name}-own exec {start.replace('%i', name)}"]
                else:
                    words = services[name]["command"]
                    command = [
                        word.replace("$$", "$").replace("/run/secrets/agent-token", str(box.token)) for word in words
                    ]
                command = [word.replace(":9101", "0") for word in command]
                log = stack.enter_context((box.home / "log").open("wb"))
                opening = await anyio.open_process(command, env=box.env, cwd=box.home, stdout=log, stderr=log)
                process = await stack.enter_async_context(opening)
                stack.push_async_callback(ended, process)
                with anyio.fail_after(200):
                    while name not in await roles(hub):
                        assert process.returncode is None, (box.home / "log").read_text()
                        await anyio.sleep(0.1)


async def roles(hub: RunningHub) -> set[str]:
    """Return the roles of the agents that have joined."""
    async with connect(hub.folder.own_url, credentials=hub.folder.hub_creds) as opened:
        entries = [entry async for batch in (await opened.arena("tiny")).read() for entry in batch]
    return {entry.post.event.role for entry in entries if entry.post and isinstance(entry.post.event, AgentJoined)}


async def members(hub: RunningHub) -> tuple[list[WorkerJoined], list[WorkerLeft]]:
    """Return who has joined, and who has left."""
    found: tuple[list[WorkerJoined], list[WorkerLeft]] = ([], [])
    async with connect(hub.folder.own_url, credentials=hub.folder.hub_creds) as opened:
        async for batch in (await opened.arena("tiny")).read():
            for entry in batch:
                match entry.post.event if entry.post else None:
                    case WorkerJoined() as joined:
                        found[0].append(joined)
                    case WorkerLeft() as left:
                        found[1].append(left)
    return found
