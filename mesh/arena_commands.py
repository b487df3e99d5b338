"""Checks what an arena runs and by which interpreter, when it is opened: a mistake here would fail every run."""

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from mesh.errors import BadArena, BadInput
from mesh.interpreter import Interpreter, below_home, check_narrow, find_interpreter, readable_folders
from mesh.plain_command import plain_command
from mesh.readable import is_visible
from mesh.spec import ArenaSpec, EnvironmentSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)")
_SET_BY_US = ("PATH", "HOME", "TMPDIR", "PYTHONDONTWRITEBYTECODE", "PYTHONNOUSERSITE", "CUDA_VISIBLE_DEVICES")


def checked_environment(folder: Path, where: Path, spec: EnvironmentSpec) -> EnvironmentSpec:
    """Return an arena's `[environment]` with absolute paths, checked on this machine.

    Raises:
        BadArena: the interpreter or a path is not there, or would show trials what they must not see.
    """
    python = spec.python
    if python and not os.path.isabs(os.path.expanduser(python)) and ("/" in python or (folder / python).is_dir()):
        python = str(folder.resolve() / python)
    try:
        _check_variables(spec)
        readable_folders(spec.readable, above=[folder])
        if python:
            for path in find_interpreter(python).readable:
                check_narrow("environment.python", path, above=[folder])
    except BadInput as error:
        raise BadArena(f"{where}: {error}") from None
    return replace(spec, python=below_home(python), readable=tuple(map(below_home, spec.readable)))


def _check_variables(spec: EnvironmentSpec) -> None:
    for what, names in (("variables", spec.variables), ("keys", spec.keys)):
        for name in names:
            if not _NAME.fullmatch(name):
                raise BadInput(f"environment.{what}: {name[:60]!r} is not the name of a variable")
            if name.startswith("MESH_") or name in _SET_BY_US:
                raise BadInput(f"environment.{what}: the worker itself sets {name}: take it off the list")
    for name in spec.variables:
        if _KEY.search(name.upper()) and name not in spec.keys:
            raise BadInput(
                f"environment.variables: {name} looks like a key, which trials must not see: name it in "
                "environment.keys, which the score program alone gets"
            )
    if spec.network is True:
        raise BadInput(
            'environment.network is true; use "evaluator", which opens the network to the score program alone, or '
            "trial.network = true, which opens it to trials"
        )


def check_scorer_rights(spec: ArenaSpec) -> None:
    """Refuse keys and network for a score program where there is none.

    Raises:
        BadInput: there is none.
    """
    own = spec.environment
    if spec.score.how in ("stdout", "file") and (own.keys or own.network):
        named = "keys" if own.keys else "network"
        raise BadInput(
            f'environment.{named} is for a score program, but with score.how = "{spec.score.how}" the trial scores '
            'itself: score with how = "command"'
        )


def rights_words(spec: ArenaSpec) -> str:
    """Return in a sentence what network and keys the evaluation has, "" for none."""
    own = spec.environment
    rights = ["the network of this machine"] if own.network == "evaluator" else []
    rights += [f"the key{'s' if len(own.keys) > 1 else ''} {', '.join(own.keys)}"] if own.keys else []
    if not rights:
        return ""
    if spec.trial.command:
        return f"the score program alone has {' and '.join(rights)}"
    return f"the evaluator has {' and '.join(rights)}, and so has the program that it runs: trust all proposals"


def interpreter_of(spec: EnvironmentSpec) -> Interpreter | None:
    """Return the interpreter that an arena names, None for our own; raises as `find_interpreter`."""
    return find_interpreter(spec.python) if spec.python else None


def environment_words(spec: EnvironmentSpec) -> str:
    """Return in a sentence what an arena's processes have of their own, "" for nothing; it may ask the interpreter."""
    found = interpreter_of(spec)
    parts = [f"Python {found.version} of {below_home(found.prefix)}"] if found else []
    built = spec.requirements or spec.lock
    parts += [f"built by workers from {built}"] if built else []
    parts += [f"reads {', '.join(spec.readable)}"] if spec.readable else []
    plain = [name for name in spec.variables if name not in spec.keys]
    parts += [f"has the variables {', '.join(plain)}"] if plain else []
    return f"environment of the task: {'; '.join(parts)}" if parts else ""


def elsewhere_words(spec: EnvironmentSpec) -> str:
    """Return in a sentence which folders the interpreter imports from and the sandbox hides, "" for none."""
    found = interpreter_of(spec)
    hidden = [path for path in found.elsewhere if not is_visible(path, spec_folders(spec))] if found else []
    if not found or not hidden:
        return ""
    names = ", ".join(map(below_home, hidden[:4]))
    return (
        f"{below_home(found.python)} imports from {names} too, which the sandbox hides: name it in environment.readable"
    )


def import_cure(spec: EnvironmentSpec, message: str) -> str:
    """Return what may cure a failure to import a module, "" for another failure or where nothing is known.

    Args:
        spec: the environment that the arena names.
        message: the sentence of the failure.
    """
    if "ModuleNotFoundError" not in message and "ImportError" not in message:
        return ""
    try:
        return elsewhere_words(spec)
    except BadInput:
        return ""


def spec_folders(spec: EnvironmentSpec) -> tuple[str, ...]:
    """Return the folders that an arena's processes read beside the system's; raises as `find_interpreter`."""
    found = interpreter_of(spec)
    return (*(found.readable if found else ()), *map(os.path.expanduser, spec.readable))


def check_commands(folder: Path, where: Path, spec: ArenaSpec) -> None:
    """Check that every command of an arena can be started, also inside of the sandbox.

    Raises:
        BadArena: a program or a script is not there, or the sandbox hides the program.
    """
    for what, command in (
        ("trial.command", spec.trial.command),
        ("score.command", spec.score.command),
        *((f"score.stage {stage.name!r}: command", stage.command) for stage in spec.score.stage),
        ("score.predict", spec.score.predict),
        ("artifact.prepare", spec.artifact.prepare),
    ):
        if command:
            _check(folder, where, what, command, spec.environment)


def _check(folder: Path, where: Path, what: str, command: Sequence[str], environment: EnvironmentSpec) -> None:
    own = interpreter_of(environment)
    command = plain_command(command)
    program = "python" if command[0] in (sys.executable, own.python if own else "") else command[0]
    if "/" in program and not Path(program).is_absolute():
        raise BadArena(f"{where}: {what}: {program!r} cannot be executed directly: write its interpreter before it")
    if program == "python":
        if len(command) > 1 and command[1].endswith(".py") and not (folder / command[1]).is_file():
            raise BadArena(f"{where}: {what}: {command[1]!r} does not exist in {folder}")
        return
    path = os.pathsep.join(filter(None, (own.programs if own else "", os.environ.get("PATH", os.defpath))))
    found = shutil.which(program, path=path)
    if not found:
        raise BadArena(f"{where}: {what}: command {program!r} was not found on this machine")
    if what != "artifact.prepare" and not is_visible(found, spec_folders(environment)):
        raise BadArena(f"{where}: {what}: the sandbox hides {found} from trials: {_cure(found)}")


def _cure(program: str) -> str:
    """Return how a program that the sandbox hides can be used."""
    if os.path.basename(program).startswith("python"):
        folder = Path(program).parent.parent
        named = folder if (folder / "pyvenv.cfg").is_file() or (folder / "conda-meta").is_dir() else Path(program)
        return f'set python = "{below_home(str(named))}" under [environment], and write "python" in the command'
    folder = Path(program).parent
    named = folder.parent if folder.name == "bin" and folder.parent != Path.home() else folder
    return f'set readable = ["{below_home(str(named))}"] under [environment], with all that it needs'
