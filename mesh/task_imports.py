"""The modules that a Python task imports: which of them may be imported ahead, and which this machine lacks."""

import ast
import sys
from collections.abc import Collection, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from mesh.python_syntax import parse_python

_AHEAD = {"numpy", "scipy", "pandas", "sklearn", "sympy", "networkx", "torch", "numba", "PIL", "shapely", "statsmodels"}
"""Packages that stay as they are in a fork. Others may start threads, open devices or read the environment."""
_NOT_AHEAD = {
    "__future__",
    "__main__",
    "antigravity",
    "idlelib",
    "readline",
    "this",
    "tkinter",
    "turtle",
    "site",
    "test",
}
_MAX = 64


def imported_modules(sources: Iterable[str], files: Collection[str] = (), *, anywhere: bool = False) -> tuple[str, ...]:
    """Return the modules of packages that are installed here and may be imported once for all evaluations.

    Args:
        sources: texts of Python files; others have none.
        files: names of the task's own files, whose modules are not meant.
        anywhere: return modules also if they are not installed here; some of the names are then not modules at all.
    """
    own = {name.partition("/")[0].removesuffix(".py") for name in files}
    names: set[str] = set()
    for name, attributes in _imports(sources):
        top = name.partition(".")[0]
        if top in own or not (top in _AHEAD or (top in sys.stdlib_module_names and top not in _NOT_AHEAD)):
            continue
        names |= {
            found for found in (name, *(f"{name}.{each}" for each in attributes)) if anywhere or _is_module(found)
        }
    return tuple(sorted(names)[:_MAX])


def missing_modules(sources: Iterable[str], files: Collection[str] = ()) -> tuple[str, ...]:
    """Return the packages that these sources import at their top, unconditionally, and this interpreter lacks."""
    own = {name.partition("/")[0].removesuffix(".py") for name in files} | {"openevolve", "shinka", "coral"}
    tops = {name.partition(".")[0] for name, _ in _imports(sources, everywhere=False)} - own - sys.stdlib_module_names
    return tuple(sorted(top for top in tops if not _is_module(top)))


def _imports(sources: Iterable[str], *, everywhere: bool = True) -> Iterator[tuple[str, list[str]]]:
    """Yield each module that is imported, with the names that are taken from it; else only what the top imports."""
    for source in sources:
        try:
            tree = parse_python(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree) if everywhere else tree.body:
            if isinstance(node, ast.Import):
                yield from ((each.name, []) for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module, [each.name for each in node.names]


def _is_module(name: str) -> bool:
    """Tell whether a module is there, without importing any: that may take seconds and has effects."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return False
    if spec is None or not rest:
        return spec is not None
    below = Path(*rest)
    for place in spec.submodule_search_locations or ():
        where = Path(place) / below
        if where.is_dir() or any(where.parent.glob(f"{where.name}.py")) or any(where.parent.glob(f"{where.name}.*.so")):
            return True
    return False
