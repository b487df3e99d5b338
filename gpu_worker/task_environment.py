"""What the processes of an arena's runs have of this machine: their interpreter, folders to read, their PATH."""

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, quote_plus

import msgspec

from gpu_worker.environment import inherited
from gpu_worker.folders import make_enterable
from gpu_worker.sandbox.tiers import Sandbox, Tier
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from mesh.errors import BadInput
from mesh.file_trees import delete
from mesh.interpreter import Interpreter, check_narrow, find_interpreter, readable_folders
from mesh.readable import is_visible, visible_path
from mesh.spec import EnvironmentSpec

_TRY_WITHIN_S = 60.0
SHORTEST_KEY = 8
"""Characters of a key: a shorter text is part of too many others to be taken out of logs."""
MOST_PACKAGES = 4000
"""Characters of the packages that a fact keeps."""
_TELLING = 4
"""Characters of a key that are taken out where it is cut off."""


class TaskEnvironment(msgspec.Struct, frozen=True):
    """The environment of an arena on this machine; by default the worker's own Python and PATH.

    Args:
        python: the interpreter that `python` stands for.
        readable: what processes read beside the system's.
        path: their PATH.
        links: what their `HOME` has of the user's home, by name: the file or folder that each name leads to.
        hash: of the interpreter and of what is installed in it; "" for the worker's own.
        hidden: the folders of the worker's PATH that the sandbox hides.
        built: hash of what the environment was built from; "" if it was not built.
        packages: what is installed in an environment that was built, with versions.
        variables: what all processes have of the worker's variables.
        keys: what the score program alone has of them.
    """

    python: str = sys.executable
    readable: tuple[str, ...] = ()
    path: str = os.environ.get("PATH", "")
    links: dict[str, str] = {}
    hash: str = ""
    hidden: tuple[str, ...] = ()
    built: str = ""
    packages: str = ""
    variables: dict[str, str] = {}
    keys: dict[str, str] = {}

    @property
    def is_own(self) -> bool:
        """Whether the interpreter is the worker's."""
        return self.python == sys.executable

    def mixed_with(self, machine: str) -> str:
        """Return the hash of what a score depends on beside the code: this environment and a machine's own hash."""
        return hashlib.sha256(f"{machine} {self.hash}".encode()).hexdigest()[:16] if self.hash else machine


OWN_ENVIRONMENT = TaskEnvironment()
"""The worker's own Python and PATH."""


def task_environment(
    spec: EnvironmentSpec, tier: Tier, closed: Sequence[Path] = (), built: tuple[Interpreter, str] | None = None
) -> TaskEnvironment:
    """Return what an arena's processes have on this machine; it may ask the interpreter, which takes a moment.

    Args:
        spec: the arena's `[environment]`.
        tier: the sandbox tier of the worker.
        closed: folders that no trial may see.
        built: the interpreter that was built for it and the hash of its sources; None if nothing was.

    Raises:
        BadInput: this machine does not have it, or it would show trials too much.
    """
    python, hashed, programs = sys.executable, "", ""
    readable = readable_folders(spec.readable, closed)
    if built or spec.python:
        found = built[0] if built else find_interpreter(spec.python)
        for folder in found.readable:
            if not (built and folder == found.prefix):
                check_narrow("environment.python", folder, closed)
        python, programs = found.python, found.programs
        readable = (*found.readable, *readable)
        hashed = hashlib.sha256("\n".join((found.version, *found.packages)).encode()).hexdigest()[:16]
    whole = os.pathsep.join(filter(None, (programs, inherited().get("PATH", ""))))
    path = visible_path(whole, readable) if tier in "ABC" else whole
    seen = path.split(os.pathsep)
    home = str(Path.home())
    return TaskEnvironment(
        python=python,
        readable=readable,
        path=path,
        links={each[len(home) + 1 :]: each for each in readable if each.startswith(f"{home}/") and home != "/"},
        hash=hashed,
        built=built[1] if built else "",
        packages=" ".join(map(_named, built[0].packages))[:MOST_PACKAGES] if built else "",
        variables={n: os.environ[n] for n in spec.variables if n in os.environ and n not in spec.keys},
        keys={name: _key(name) for name in spec.keys},
        hidden=tuple(each for each in whole.split(os.pathsep) if each and each not in seen),
    )


def _named(folder: str) -> str:
    """Return a package with its version by the name of the folder of its metadata."""
    name, _, version = folder.removesuffix(".dist-info").removesuffix(".egg-info").partition("-")
    return f"{name}=={version}"


def _key(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise BadInput(f"environment.keys: {name} is not set where this worker was started: set it there")
    if len(value) < SHORTEST_KEY:
        raise BadInput(f"environment.keys: {name} has fewer than {SHORTEST_KEY} characters: give a key, not a setting")
    return value


def redacted(text: str, keys: Mapping[str, str]) -> str:
    """Return a text with `***NAME***` in place of the value of each key, also where it is quoted or cut off."""
    for name, value in keys.items():
        forms = {value, json.dumps(value)[1:-1], repr(value)[1:-1], quote(value, safe=""), quote_plus(value)}
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, f"***{name}***")
        head, cut, tail = text.partition("\n… ")
        if cut:  # the middle of the text was left out, perhaps in a value
            head, tail = _without_end(head, value, name), _without_begin(tail, value, name)
            text = head + cut + tail
    return text


def _without_end(text: str, value: str, name: str) -> str:
    known = next((n for n in range(len(value) - 1, _TELLING - 1, -1) if text.endswith(value[:n])), 0)
    return f"{text[:-known]}***{name}***" if known else text


def _without_begin(text: str, value: str, name: str) -> str:
    line, newline, rest = text.partition("\n")
    known = next((n for n in range(len(value) - 1, _TELLING - 1, -1) if rest.startswith(value[-n:])), 0)
    return f"{line}{newline}***{name}***{rest[known:]}" if known else text


async def why_unusable(environment: TaskEnvironment, sandbox: Sandbox, folder: Path) -> str:
    """Start the interpreter as a trial would; return why it does not work there, "" where it does.

    Args:
        environment: whose interpreter.
        sandbox: that of a trial.
        folder: a new folder, which is deleted afterwards.

    Raises:
        HostTrouble: this machine cannot start it at all.
    """
    work = folder / "work"
    try:
        make_enterable(folder.parent)
        make_enterable(folder)
        work.mkdir()
        sandbox.give([work])
        policy = sandbox.policy([Path(each) for each in environment.readable], [work])
        async with start_supervisor() as supervisor:
            env = inherited() | {"PATH": environment.path, "MESH_RUN_TOKEN": supervisor.token, "TMPDIR": str(work)}
            launch = Launch((environment.python, "-c", "import encodings, json"), env, str(work), policy)
            ended = await supervisor.run(Request(launch, Limits(_TRY_WITHIN_S, memory_mb=4096)))
    finally:
        delete(folder)
    if ended.rc == 0:
        return ""
    last = (ended.err.strip().splitlines() or [ended.why or f"exit code {ended.rc}"])[-1]
    if environment.built:
        return (
            f"the environment of the task, {os.path.dirname(os.path.dirname(environment.python))}, cannot be used in "
            f"sandbox tier {sandbox.tier} ({last}): environments are built below XDG_CACHE_HOME, so set that to a "
            "folder that every user may enter, such as /var/cache"
        )
    return (
        f"environment.python: {environment.python} cannot be started in sandbox tier {sandbox.tier} ({last}): put it "
        "where every user may read it, such as below /opt, or name what it needs in environment.readable"
    )


def hidden_program(message: str, environment: TaskEnvironment) -> str:
    """Return a failure's message with the cure where it could not start a program that the sandbox hides."""
    for folder in environment.hidden:
        for word in message.replace("'", " ").replace('"', " ").replace(":", " ").split():
            program = os.path.join(folder, word)
            if (
                "/" not in word
                and ("No such file" in message or "not found" in message)
                and os.access(program, os.X_OK)
            ):
                real = os.path.realpath(program)
                more = f" and what {real} needs" if not is_visible(real, (folder,)) else ""
                if os.path.basename(real) == "rustup":  # it starts the compiler that lies in a folder of its own
                    toolchains = os.environ.get("RUSTUP_HOME") or os.path.expanduser("~/.rustup")
                    more = f" and {toolchains}"
                return f"{message}; {program} is hidden by the sandbox: name {folder}{more} in environment.readable"
    return message
