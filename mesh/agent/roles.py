"""From a name to a role: `explorer` is `agents.explorer:Explorer`, anything else is spelled `module:Class`."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from mesh import own_packages
from mesh.agent.protocol import Agent, Context
from mesh.errors import BadInput, UnknownName
from mesh.events import KINDS

SHORT_NAMES = ("explorer", "critic", "curator", "researcher")


def find_role(name: str, path: Path | None = None) -> Callable[[Context], Agent]:
    """Return what makes an agent of the role; `path` is the folder in which a module that is not installed is found.

    That folder becomes the last of `sys.path`, so that nothing in it takes the place of a package.

    Raises:
        UnknownName: there is no such role, module or class, or the class is no agent.
        BadInput: the module is there and cannot be imported, or a package of others stands in its place.
    """
    if name in SHORT_NAMES:
        own_packages.check("agents")
        module_name, class_name = f"agents.{name}", name.capitalize()
    else:
        module_name, _, class_name = name.partition(":")
        if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
            raise UnknownName(f"there is no role {name!r}: it is one of {', '.join(SHORT_NAMES)}, or module:Class")
        if path is not None:
            sys.path.append(str(path.resolve()))
    try:
        role = getattr(importlib.import_module(module_name), class_name)
    except ModuleNotFoundError as error:
        raise UnknownName(f"role {name!r}: there is no module {error.name!r}") from None
    except AttributeError as error:
        if class_name != error.name:
            raise BadInput(_why_not(name, module_name, error)) from error
        raise UnknownName(f"role {name!r}: module {module_name} has no class {class_name!r}") from None
    except Exception as error:
        raise BadInput(_why_not(name, module_name, error)) from error
    missing = [part for part in ("listens", "only_latest", "handle") if not hasattr(role, part)]
    if missing:
        raise UnknownName(f"role {name!r} is no agent: {class_name} has no {missing[0]!r}")
    unheard = [kind for kind in role.listens if kind not in KINDS]
    if unheard:
        raise UnknownName(f"role {name!r} listens to {unheard[0]!r}, which is no fact: one of {', '.join(KINDS)}")
    made: Callable[[Context], Agent] = role
    return made


def _why_not(name: str, module: str, error: Exception) -> str:
    return f"role {name!r}: module {module} cannot be imported: {type(error).__name__}: {error}"
