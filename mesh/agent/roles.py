"""Finds a role by name: `explorer` is `agents.explorer:Explorer`; a role that the user wrote is `module:Class`.

It checks a role before it starts, and explains in one sentence what is wrong with it.
"""

import importlib
import inspect
import sys
import traceback
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mesh import own_packages
from mesh.agent.command_runner import CommandRunner
from mesh.agent.protocol import Agent, role_of
from mesh.errors import BadInput, MeshError, UnknownName
from mesh.events import KINDS
from mesh.wire import check_token

_OF_MODELS = ("litellm", "stamina")
SHORT_NAMES = ("explorer", "critic", "curator", "researcher", "coder")


def find_role(name: str, path: Path | None = None) -> type[Agent]:
    """Return the class of a role after all checks that need no instance; `make` makes an instance.

    Args:
        name: one of `SHORT_NAMES`, or `module:Class`.
        path: the folder of a module that is not installed.

    Raises:
        UnknownName: there is no such role, module or class.
        BadInput: the module cannot be imported, a package of others shadows it, or the class is not a valid role.
    """
    if name in SHORT_NAMES:
        own_packages.check_own("agents")
        _refuse_without_packages(name)
        return find_class("role", f"agents.{name}:{name.capitalize()}", path=None)
    if ":" not in name:
        raise UnknownName(f"there is no role {name!r}: use {', '.join(SHORT_NAMES)}, or your own as module:Class")
    role: type[Agent] = find_class("role", name, path=path)
    if trouble := _trouble(role) or _misfit_of_class(role, "context"):
        raise BadInput(f"role {name!r} is not a valid role: {trouble}")
    return role


def find_class(what: str, name: str, *, path: Path | None) -> type[Any]:
    """Return the class that `module:Class` names.

    Args:
        what: the kind of class, for the error: `role`, `sampler`.
        name: `module:Class`.
        path: a folder that is appended to `sys.path`, so that no file in it shadows a package.

    Raises:
        UnknownName: the name is misspelled, or there is no such module or class.
        BadInput: the module cannot be imported, or the name does not belong to a class.
    """
    module_name, _, class_name = name.partition(":")
    if module_name.endswith(".py"):
        cure = f"{module_name.removesuffix('.py').replace('/', '.')}:{class_name or 'Class'}"
        raise UnknownName(f"{what} {name!r} names a file; use the module instead, such as {cure}")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise UnknownName(f"{what} {name!r} is not module:Class; write it like my_package.my_module:MyClass")
    if path is not None and str(path.resolve()) not in sys.path:
        sys.path.append(str(path.resolve()))
    where = "" if path is None else f" in {path.resolve()}, and none is installed; name its folder with --path"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise UnknownName(f"{what} {name!r}: there is no module {error.name!r}{where}") from None
        raise BadInput(_import_trouble(what, name, module_name, error)) from error
    except (Exception, SystemExit) as error:
        raise BadInput(_import_trouble(what, name, module_name, error)) from error
    if not hasattr(module, class_name):
        classes = [n for n, each in vars(module).items() if isinstance(each, type) and each.__module__ == module_name]
        there = f"; it has {', '.join(classes[:8])}" if classes else ", nor any other"
        raise UnknownName(f"{what} {name!r}: module {module_name} has no class {class_name!r}{there}")
    found = getattr(module, class_name)
    if not isinstance(found, type):
        raise BadInput(f"{what} {name!r} is of type {type(found).__name__}; use a class")
    return found


def make(what: str, name: str, found: type[Any], **given: Any) -> Any:
    """Return a new instance of a class.

    Args:
        what: the kind of class, for the error: `role`, `sampler`.
        name: the name of the class, as the user wrote it.
        found: the class, from `find_class`.
        given: the positional arguments in order; their names appear in errors.

    Raises:
        MeshError: the constructor itself raised it.
        BadInput: the constructor takes other arguments, or raised another error.
    """
    if trouble := _misfit_of_class(found, *given):
        raise BadInput(f"{what} {name!r} cannot be made: {trouble}")
    try:
        return found(*given.values())
    except MeshError:
        raise
    except Exception as error:
        call = f"{found.__name__}({', '.join(given)})"
        raise BadInput(f"{what} {name!r} cannot be made: {call} raised {in_words(error)}") from error


def in_words(error: BaseException) -> str:
    """Return the type, text and place of an error on one line."""
    text = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        where = ""  # its own text names the place
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


def make_command_runner(folder: Path, sandbox: str) -> CommandRunner:
    """Return what runs commands in the sandbox of this machine.

    Args:
        folder: where the folders of commands are made.
        sandbox: which sandbox is wanted: auto, weak or none.

    Raises:
        BadInput: there is no such wish.
    """
    own_packages.check_own("gpu_worker")
    name = "gpu_worker.sandbox_runner:SandboxRunner"
    runner: CommandRunner = make(
        "command runner", name, find_class("command runner", name, path=None), folder=folder, sandbox=sandbox
    )
    return runner


def _trouble(role: type[Any]) -> str:
    """Return what is wrong with a class as a role, in one clause; "" if nothing is."""
    name = role.__name__
    if not hasattr(role, "listens"):
        return f"{name} has no 'listens'; set it to the kinds of facts to hear, such as listens = ('run.finished',)"
    if not hasattr(role, "handle"):
        return f"{name} has no 'handle'; write `async def handle(self, post, board)`"
    if isinstance(role.listens, str) or not isinstance(role.listens, tuple | list | set | frozenset):
        cure = (role.listens,) if isinstance(role.listens, str) else ("run.finished",)
        return f"{name}.listens is {role.listens!r}; use a tuple of kinds, such as {cure!r}"
    for kind in role.listens:
        if kind not in KINDS:
            return f"{name}.listens names {kind!r}, which is not a kind of fact; use some of {', '.join(KINDS)}"
    for method, args in (("handle", "post, board"), ("joined", "board"), ("tick", "now, board")):
        if hasattr(role, method) and (trouble := method_trouble(role, method, args, is_async=True)):
            return trouble
    if hasattr(role, "heard") and (trouble := method_trouble(role, "heard", "topic, data, board", is_async=False)):
        return trouble
    return _attribute_trouble(role)


def _attribute_trouble(role: type[Any]) -> str:
    name = role.__name__
    if hasattr(role, "tick") and not hasattr(role, "every_s"):
        return f"{name} has 'tick' but no 'every_s'; set the seconds between two ticks, such as every_s = 1.0"
    if hasattr(role, "heard") and not hasattr(role, "hears"):
        return f"{name} has 'heard' but no 'hears'; set a topic, such as hears = 'curve.>'"
    if hasattr(role, "every_s") and not (isinstance(role.every_s, int | float) and role.every_s > 0):
        return f"{name}.every_s is {role.every_s!r}; use seconds above 0"
    try:
        check_token(f"{name}.role", role_of(role))
    except BadInput as error:
        return str(error)
    return ""


def method_trouble(role: type[Any], method: str, args: str, *, is_async: bool) -> str:
    """Return what is wrong with a method of a role, in one clause; "" if nothing is.

    Args:
        role: the class.
        method: name of the method.
        args: the arguments that the runtime passes, such as "post, board".
        is_async: whether the runtime awaits the method.
    """
    function = getattr(role, method)
    wanted = f"`{'async ' if is_async else ''}def {method}(self, {args})`"
    if not callable(function) or inspect.iscoroutinefunction(function) != is_async:
        return f"{role.__name__}.{method} is {'not an async' if is_async else 'an async'} function; write {wanted}"
    bound = ["self", *args.split(", ")] if inspect.isfunction(function) else args.split(", ")
    trouble = _misfit(function, *bound)
    return f"{role.__name__}.{method} cannot be called with {args}: {trouble}; write {wanted}" if trouble else ""


def _refuse_without_packages(name: str) -> None:
    """Refuse a role of ours whose packages are not installed.

    Raises:
        BadInput: a package is missing; the sentence has the command that installs it.
    """
    if name == "researcher" and (missing := [each for each in _OF_MODELS if find_spec(each) is None]):
        raise BadInput(
            f"models need the package {missing[0]}, which is not installed; run pip install 'mesh-swarm[models]'"
        )


def _misfit_of_class(found: type[Any], *args: str) -> str:
    """Return why a class does not take these arguments, in one clause; "" if it does, or has no signature."""
    trouble = _misfit(found, *args)
    wanted = f"`def __init__({', '.join(('self', *args))})`"
    return f"{found.__name__}({', '.join(args)}): {trouble}; write {wanted}" if trouble else ""


def _misfit(function: Callable[..., Any], *args: str) -> str:
    try:
        inspect.signature(function).bind(*args)
    except TypeError as error:
        return str(error)
    except ValueError:  # a class in C has no signature
        return ""
    return ""


def _import_trouble(what: str, name: str, module: str, error: BaseException) -> str:
    return f"{what} {name!r}: module {module} cannot be imported: {in_words(error)}"
