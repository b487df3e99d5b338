"""Finds packages of others that have the name of one of ours, such as the `agents` of openai-agents.

Python imports the first one on its search path, so a role can fail with a missing module. This module searches without
importing anything.
"""

import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Literal

import msgspec

from mesh.errors import BadInput

NAMES = ("mesh", "agents", "gpu_worker", "analytics", "gateway", "mesh_client", "mesh_cli")
CURE = "install mesh-swarm into a separate environment (python -m venv .venv; .venv/bin/pip install 'mesh-swarm[up]')"
_ROOT = Path(__file__).resolve().parents[1]


class Foreign(msgspec.Struct, frozen=True):
    """A package of others with one of our names: its folder, the distribution it is from ("": unknown), its effect.

    `shadows`: Python imports it instead of ours. `hidden`: Python imports ours instead of it. `mixed`: both are
    installed in the same folder, and have overwritten each other's files.
    """

    name: str
    where: str
    owner: str
    effect: Literal["shadows", "hidden", "mixed"]

    def __str__(self) -> str:
        owner = f" of {self.owner}" if self.owner else ""
        return f"the package {self.name}{owner} at {self.where}"


def check_own(*names: str) -> None:
    """Check that Python imports our packages under these names.

    Args:
        names: names to check; by default all of `NAMES`.

    Raises:
        BadInput: Python imports another package.
    """
    for name in names or NAMES:
        if where := _taken_from(name):
            foreign = Foreign(name, str(where), _owner(name, where), "shadows")
            raise BadInput(f"Python imports {foreign} instead of ours: {CURE}")


def foreign_packages() -> list[Foreign]:
    """Return every package of others on Python's search path that has one of our names."""
    found = []
    for name in NAMES:
        shadowing = _taken_from(name)
        for where in _places(name):
            owner = _owner(name, where)
            if where == shadowing:
                found.append(Foreign(name, str(where), owner, "shadows"))
            elif where != _ROOT / name:
                found.append(Foreign(name, str(where), owner, "hidden"))
            elif owner:
                found.append(Foreign(name, str(where), owner, "mixed"))
    return found


def _taken_from(name: str) -> Path | None:
    """Return from where Python would import `name`; None if that is our package or nothing."""
    where = _place(importlib.util.find_spec(name))
    return None if where in (None, _ROOT / name) else where


def _places(name: str) -> Iterator[Path]:
    """Yield each place on the search path, except the user's folder, with a package or module of that name."""
    seen = {Path.cwd() / name, Path.cwd() / f"{name}.py"} - {_ROOT / name}
    if taken := _taken_from(name):
        yield taken
        seen.add(taken)
    for entry in sys.path:
        spec = PathFinder.find_spec(name, [entry or "."])
        where = _place(spec) if spec and spec.origin else None  # Python prefers any other to one without __init__.py
        if where and where not in seen:
            yield where
            seen.add(where)


def _place(spec: ModuleSpec | None) -> Path | None:
    """Return the folder of a package, or the file of a module."""
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ([spec.origin] if spec.origin else []))
    return Path(places[0]).resolve() if places else None


def _owner(name: str, where: Path) -> str:
    """Return the name and version of the other distribution that installed `name` there, '' if none did."""
    for distribution in importlib.metadata.distributions():
        title = distribution.metadata["Name"] or ""
        if title.lower().replace("_", "-") == "mesh-swarm":
            continue
        files = distribution.read_text("RECORD") or ""
        installs = files.startswith((f"{name}/", f"{name}.py,")) or f"\n{name}/" in files or f"\n{name}.py," in files
        if installs and Path(str(distribution.locate_file(where.name))).resolve() == where:
            return f"{title} {distribution.version}"
    return ""
