"""Fingerprints: hashes by which a critic recognises that two proposals have the same code.

Comments, layout and docstrings do not count. A seed is an assignment, argument or default whose name contains `seed` or
is `random_state`. The arguments of calls such as `manual_seed(1)` and `default_rng(1)` are seeds too.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from mesh.events import Scalar
from mesh.knobs import NEAR, Knob, are_near, edit, knobs_of
from mesh.python_syntax import parse_python

_SEEDERS = ("default_rng", "randomstate", "prngkey", "seedsequence")


class Fingerprint(msgspec.Struct, frozen=True):
    """Hashes of the editable files (complete, without seeds, without knob values), and their knobs."""

    meaning: str
    seedless: str
    knobless: str
    knobs: tuple[Knob, ...]

    def is_near(self, other: "Fingerprint", share: float = NEAR) -> bool:
        """Tell whether two differ only in numeric knobs, each by less than `share` (0 to 1) of its range."""
        own, others = ({(k.file, k.name): k.value for k in side.knobs} for side in (self, other))
        return self.knobless == other.knobless and len(others) == len(own) and are_near(self.knobs, own, others, share)


def fingerprint(files: Mapping[str, bytes], editable: Sequence[str]) -> Fingerprint:
    """Return the fingerprint of the editable files."""
    return _fingerprint(tuple((name, files[name]) for name in editable if name in files), tuple(editable))


@lru_cache(maxsize=64)  # the baseline's is asked for again and again, and that of a proposal for the next one
def _fingerprint(contents: tuple[tuple[str, bytes], ...], editable: tuple[str, ...]) -> Fingerprint:
    files = dict(contents)
    knobs = knobs_of(files, editable)
    knobless = _without_knobs(files, knobs)
    normal = {name: _normal(name, files.get(name, b"")) for name in editable}
    return Fingerprint(
        meaning=_digest((name, meaning) for name, (meaning, _) in normal.items()),
        seedless=_digest((name, seedless) for name, (_, seedless) in normal.items()),
        knobless=_digest((name, _normal(name, knobless.get(name, b""))[0]) for name in editable),
        knobs=tuple(knobs),
    )


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    total = hashlib.sha256()
    for name, data in parts:
        total.update(f"{len(name)} {name} {len(data)} ".encode())
        total.update(data)
    return total.hexdigest()


def _normal(name: str, data: bytes) -> tuple[bytes, bytes]:
    """Return the syntax of a Python file without docstrings, and that without seeds; any other file unchanged."""
    if not name.endswith(".py"):
        return data, data
    try:
        module = parse_python(data)
        for node in ast.walk(module):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [s for s in node.body if not _is_text(s)]
        meaning = _dumped(module)
        _forget_seeds(module)
        return meaning, _dumped(module)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return data, data


def _dumped(module: ast.Module) -> bytes:
    return ast.dump(module).encode("utf-8", "surrogatepass")


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _without_knobs(files: Mapping[str, bytes], knobs: Sequence[Knob]) -> dict[str, bytes]:
    """Return the files with 0, or an empty text, in place of the value of every knob."""
    changed = dict(files)
    for name in {knob.file for knob in knobs}:
        values: dict[str, Scalar] = {k.name: "" if isinstance(k.value, str) else 0 for k in knobs if k.file == name}
        changed[name] = edit(files[name].decode(), values, name).encode()
    return changed


def _forget_seeds(module: ast.Module) -> None:
    for node in ast.walk(module):
        match node:
            case ast.Assign() | ast.AnnAssign() if node.value and any(map(_is_seed, _targets(node))):
                node.value = _without(node.value)
            case ast.keyword() if _is_seed(node.arg or ""):
                node.value = _without(node.value)
            case ast.Call() if _is_seed(_name(node.func)) or _name(node.func).lower() in _SEEDERS:
                node.args = [_without(arg) for arg in node.args]
            case ast.arguments():
                _forget_defaults(node)


def _forget_defaults(of: ast.arguments) -> None:
    named = [*of.posonlyargs, *of.args]
    skipped = len(named) - len(of.defaults)
    of.defaults = [
        _without(value) if _is_seed(arg.arg) else value for arg, value in zip(named[skipped:], of.defaults, strict=True)
    ]
    of.kw_defaults = [
        _without(value) if value and _is_seed(arg.arg) else value
        for arg, value in zip(of.kwonlyargs, of.kw_defaults, strict=True)
    ]


def _without(value: ast.expr) -> ast.expr:
    """Return the constant 0 in place of a whole number; any other expression unchanged."""
    return ast.Constant(0) if isinstance(value, ast.Constant) and type(value.value) is int else value


def _targets(statement: ast.Assign | ast.AnnAssign) -> list[str]:
    return [_name(t) for t in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _is_seed(name: str) -> bool:
    return "seed" in name.lower() or name == "random_state"
