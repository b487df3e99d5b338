"""Runs a command of others for a role, such as somebody's coding agent: sandboxed, within limits, as this user.

It stays this user, because it has a login of this user; so it runs in tier A or C, where the file rules alone keep it
away from what else the user has. The network is open to it, but only to the ports that it is given.
"""

import sys
from pathlib import Path

import anyio

from gpu_worker.limits import MAX_PROCESSES
from gpu_worker.sandbox import landlock
from gpu_worker.sandbox.tiers import Tier, sandbox_of
from gpu_worker.sandbox_choice import Wish, choose_tier
from gpu_worker.supervisor.client import SupervisorDied, start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from mesh.agent.command_runner import CommandEnd, SandboxedCommand, Stopped
from mesh.errors import BadInput, HostTrouble
from mesh.readable import certificates

_WISHES: dict[str, Wish] = {"auto": "auto", "weak": "weak", "none": "none"}
_STOPPED: dict[str, Stopped] = {
    "": "",
    "deadline": "deadline",
    "memory": "memory",
    "disk": "disk",
    "processes": "processes",
    "output": "output",
    "start": "start",
}


class SandboxRunner:
    """Runs commands in the strongest sandbox of this machine.

    Args:
        folder: where their folders are made.
        sandbox: which sandbox is wanted: auto, weak or none, as for a worker.

    Raises:
        BadInput: there is no such wish.
    """

    def __init__(self, folder: Path, sandbox: str) -> None:
        if sandbox not in _WISHES:
            raise BadInput(f"option sandbox={sandbox} is not valid; use {', '.join(_WISHES)}")
        self.folder = folder
        self._wish = _WISHES[sandbox]
        self._tier: Tier | None = None
        self._choosing = anyio.Lock()

    async def prepare(self) -> str:
        tier = await self._chosen()
        if tier in "DE":
            return (
                f"no sandbox holds the coding agent (tier {tier}): it can read and change whatever this user can, "
                "the log included; on Linux 5.13 or later, leave the option sandbox at auto"
            )
        if landlock.abi() < landlock.PORTS:
            return (
                "the kernel cannot keep the coding agent from connecting to the log (Linux 6.7 or later can); "
                "give the log's server a password"
            )
        return ""

    async def run(self, command: SandboxedCommand) -> CommandEnd:
        sandbox = sandbox_of(await self._chosen(), own_user=True)
        policy = sandbox.policy(
            [*command.read, *certificates()], command.write, network="all", tmp=command.tmp, ports=command.ports
        )
        limits = Limits(command.deadline_s, command.memory_mb, command.disk_mb, MAX_PROCESSES)
        try:
            async with start_supervisor() as supervisor:
                env = command.env | {"MESH_RUN_TOKEN": supervisor.token}
                launch = Launch(command.words, env, str(command.folder), policy)
                end = await supervisor.run(Request(launch, limits, watch=(str(command.watch),)))
        except SupervisorDied as error:
            return CommandEnd(rc=None, why="died", err=str(error))
        why = _STOPPED.get(end.why, "died")
        return CommandEnd(rc=end.rc, why=why, out=end.out, err=end.err, seconds=end.seconds)

    async def _chosen(self) -> Tier:
        async with self._choosing:
            if self._tier is None:
                if self._wish == "auto" and sys.platform != "linux":
                    raise HostTrouble("the sandbox of a coding agent needs Linux; use --option sandbox=none without it")
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._tier, _ = await choose_tier(self._wish, self.folder, own_user=True)
                except OSError as error:
                    raise HostTrouble(f"{self.folder} cannot be used: {error.strerror}") from None
            return self._tier
