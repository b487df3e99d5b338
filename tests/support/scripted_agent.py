"""Coding agents as short Python programs that a test writes, and a coder that runs them in the real sandbox."""

import sys
from pathlib import Path

from msgspec.structs import replace

from agents.coder import Coder
from gpu_worker.sandbox_runner import SandboxRunner
from mesh.agent.common import Common
from mesh.events import AnyEvent, Origin, ProposalPosted
from mesh.testing import Arena

HEAD = """
import json, os, pathlib, socket, subprocess, sys, time
task = pathlib.Path(sys.argv[1])
here = task.parent
train = here / "train.py"

def edit(new, old="LR = 1e-3"):
    text = train.read_text()
    assert old in text, text
    train.write_text(text.replace(old, new))

def report(title, why="it jumps"):
    (here / "PROPOSAL.md").write_text(f"TITLE: {title}\\nRATIONALE: {why}\\nPREDICTED_GAIN: 0.5\\nCONFIDENCE: 70%\\n")

"""


def write_agent(folder: Path, body: str, name: str = "agent.py") -> str:
    """Write a coding agent, and return the command line that runs it on the file with the task."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(HEAD + body)
    return f"{sys.executable} {program} {{prompt_file}}"


def measured_arena(folder: Path) -> Arena:
    """An arena whose baseline has a score."""
    arena = Arena(folder)
    origin = Origin(how="baseline")
    arena.add("eve", ProposalPosted(tree=arena.base, commit=arena.base_commit, title="as it is", origin=origin))
    arena.score(arena.base, 10.0)
    return arena


def coder(arena: Arena, folder: Path, command: str, name: str = "ann", tier: str = "", **options: str) -> Coder:
    """A coder that runs a command, with ten runs to spend; `tier` is a sandbox that holds here."""
    whole = {"command": command, "budget_calls": "10", **options}
    runner = SandboxRunner(folder, whole.get("sandbox", "auto"))
    if tier:
        runner._tier = tier  # type: ignore[assignment]
    return Coder(replace(arena.context(name, whole), commands=runner))


def coders_of_one_process(arena: Arena, folder: Path, **commands: str) -> list[Coder]:
    """Coders that run these commands, by their names."""
    common, runner = Common(), SandboxRunner(folder, "auto")
    options = {name: {"command": command, "budget_calls": "10"} for name, command in commands.items()}
    contexts = (arena.context(name, whole) for name, whole in options.items())
    return [Coder(replace(context, commands=runner, common=common)) for context in contexts]


async def work(arena: Arena, who: Coder) -> list[AnyEvent]:
    """Let a coder work once, and return what it posts."""
    return await arena.when(who, arena.opening)
