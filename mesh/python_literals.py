"""The literals of a Python file: numbers, booleans, and words of known sets, wherever they stand.

The value of a module-level `ALL_CAPS` constant on one line, and each element of a short tuple there, has the name of
the constant (`WIDTH`, `BETAS[0]`). Every other literal is named by where it stands (`mesh.python_names`), and
`mesh.python_rules` says whether it is worth a trial. `2**19` is one literal, and so is `-1`.
"""

import ast
import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from mesh.events import Scalar
from mesh.python_names import LONGEST_NAME, literal_role, literal_scope
from mesh.python_rules import PythonRules
from mesh.python_syntax import NO_PYTHON, PythonSyntax, callee_of, dotted
from mesh.python_word_lists import WordList, word_lists
from mesh.python_words import dtypes_of, known_words
from mesh.source_literal import Language, SourceLiteral

MAX_ELEMENTS = 8
"""Most elements of a tuple of constants that have names of their own."""

MAX_TABLE = 300
"""Most numbers of one list or tuple; a longer one counts as data."""

_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
_REAL_NAMES = frozenset(f"{module}.{name}" for module in ("math", "np", "numpy", "jnp") for name in ("pi", "e", "tau"))
_REAL_CALLS = frozenset(
    f"{module}.{name}"
    for module in ("math", "np", "numpy", "jnp")
    for name in ("sqrt", "exp", "log", "log2", "log10", "sin", "cos", "tan", "tanh", "arctan", "atan")
)
"""Names and functions whose value is no whole number."""

_REAL_PLACES: dict[str, tuple[int, ...]] = {
    "linspace": (0, 1),
    "logspace": (0, 1),
    "geomspace": (0, 1),
    "uniform": (0, 1),
    "normal": (0, 1),
    "gauss": (0, 1),
    "normalvariate": (0, 1),
    "lognormal": (0, 1),
    "laplace": (0, 1),
    "triangular": (0, 1, 2),
    "exponential": (0,),
    "expovariate": (0,),
    "clip": (1, 2),
}
_REAL_OPTIONS = frozenset(("start", "stop", "low", "high", "left", "right", "mode", "loc", "scale", "minval", "maxval"))
"""Arguments of functions of numpy, jax and random that take any number, by their places and their names."""


@lru_cache(maxsize=64)
def python_literals(source: str) -> tuple[SourceLiteral, ...]:
    """Return the literals of a Python source in the order in which they stand; none if it does not parse."""
    try:
        syntax = PythonSyntax(source)
        rules, lists = PythonRules(syntax), word_lists(syntax)
        constants, taken = _constants(syntax, rules, lists)
        others = _others(syntax, rules, lists, constants, taken)
        return tuple(sorted([*constants, *others], key=lambda each: each.start))
    except NO_PYTHON:
        return ()


def _constants(
    syntax: PythonSyntax, rules: PythonRules, lists: Sequence[WordList]
) -> tuple[list[SourceLiteral], set[ast.AST]]:
    """Return the literals of the constants, and the nodes that they take up."""
    found: list[SourceLiteral] = []
    taken: set[ast.AST] = set()
    for statement in syntax.module.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if not isinstance(target, ast.Name) or not _CONSTANT.fullmatch(target.id) or value.end_lineno != value.lineno:
            continue
        try:
            literal = ast.literal_eval(value)
        except (*NO_PYTHON, TypeError):
            continue
        parts: list[tuple[str, ast.expr, Scalar]] = []
        if _is_scalar(literal):
            parts = [(target.id, value, literal)]
        elif isinstance(value, ast.Tuple) and len(value.elts) <= MAX_ELEMENTS and all(map(_is_scalar, literal)):
            parts = [(f"{target.id}[{n}]", node, literal[n]) for n, node in enumerate(value.elts)]
        for name, node, scalar in parts:
            start, end = syntax.span(node)
            words: tuple[str, ...] = ()
            if isinstance(node, ast.Constant) and isinstance(scalar, str):
                words = known_words(syntax, node, lists)
            found.append(
                SourceLiteral(
                    name=name,
                    start=start,
                    end=end,
                    value=scalar,
                    comment=syntax.rest(value),
                    choices=words,
                    excluded=rules.constant_reason(node),
                )
            )
            taken.update(ast.walk(node))
    return found, taken


def _others(
    syntax: PythonSyntax,
    rules: PythonRules,
    lists: Sequence[WordList],
    constants: list[SourceLiteral],
    taken: set[ast.AST],
) -> list[SourceLiteral]:
    times = Counter({literal.name: 1 for literal in constants})
    scalars = _scalars(syntax, taken)
    counts = {(literal_scope(syntax, node), value) for node, value in scalars if rules.counts(node)}
    tables: dict[ast.AST, _Table] = {}
    found: list[SourceLiteral] = []
    for node, value in scalars:
        role, scope = literal_role(syntax, node), literal_scope(syntax, node)
        place = f"{scope}.{role}"[-LONGEST_NAME:].lstrip(".")
        times[place] += 1
        name = place if times[place] == 1 else f"{place}#{times[place]}"
        words = dtypes_of(syntax, node) if isinstance(node, ast.Attribute) else ()
        if isinstance(node, ast.Constant) and isinstance(value, str):
            words = known_words(syntax, node, lists)
        table = _table(syntax, node, tables)
        excluded = rules.reason(node, value, name) or ("data" if table.size > MAX_TABLE else "")
        start, end = syntax.span(node)
        found.append(
            SourceLiteral(
                name=name,
                start=end - len(str(value)) if isinstance(node, ast.Attribute) else start,
                end=end,
                value=float(value)
                if (scope, value) not in counts and _need_not_be_whole(syntax, node, value)
                else value,
                comment=syntax.rest(node),
                is_named=False,
                choices=words,
                excluded=excluded,
                priority=rules.priority(node, value),
                unit=0.1 * table.largest if table.is_coordinates and not isinstance(value, bool | str) else 0.0,
                scope=scope,
                is_word=isinstance(node, ast.Attribute),
            )
        )
    return [literal for literal in found if not isinstance(literal.value, str) or literal.choices]


def _scalars(syntax: PythonSyntax, taken: set[ast.AST]) -> list[tuple[ast.expr, Scalar]]:
    """Return the nodes of literals that are not taken yet, and their values, in the order in which they stand."""
    found: list[tuple[ast.expr, Scalar]] = []
    for node in syntax.nodes:  # a whole comes before its parts
        if node in taken:
            continue
        value: Scalar | None = None
        match node:
            case ast.BinOp(left=ast.Constant(value=2), op=ast.Pow(), right=ast.Constant(value=int(power))) if (
                type(power) is int and 1 < power < 53
            ):
                value = 2**power
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)) if _is_number(
                number
            ):
                value = -number
            case ast.Constant(value=bool() | int() | float() | str() as scalar):
                value = scalar
            case ast.Attribute() if dtypes_of(syntax, node):
                value = node.attr
        if value is not None and isinstance(node, ast.expr) and _fits(value):
            found.append((node, value))
            taken.update(ast.walk(node))
    return sorted(found, key=lambda each: (each[0].lineno, each[0].col_offset))


def _fits(value: Scalar) -> bool:
    return isinstance(value, str) or (math.isfinite(value) if isinstance(value, float) else abs(value) <= 2**53)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _need_not_be_whole(syntax: PythonSyntax, node: ast.expr, value: Scalar) -> bool:
    """Tell whether a fraction in the place of a whole number gives a program that works as well.

    So it is beside a true division, in a sum or a product with a number that is no whole one (`2 * math.pi`), as the
    argument of a root or a sine, as the end of a `linspace` or a `uniform`, and as the base of a power that is not
    whole (`3**0.5`).
    """
    parent = syntax.parents.get(node)
    if not _is_number(value) or isinstance(value, float):
        return False
    match parent:
        case ast.BinOp(op=ast.Pow()):
            return parent.left is node and _is_fraction(parent.right)
        case ast.BinOp(op=ast.Div()):
            return True
        case ast.BinOp(op=ast.Mult() | ast.Add() | ast.Sub()):
            return _is_fraction(parent.right if parent.left is node else parent.left)
        case ast.Call() if node in parent.args:
            callee = callee_of(parent)
            return callee in _REAL_CALLS or parent.args.index(node) in _places(callee)
        case ast.keyword(arg=str(option)):
            return option in _REAL_OPTIONS and bool(_places(callee_of(syntax.parents[parent])))
    return False


def _places(callee: str) -> tuple[int, ...]:
    module, _, name = callee.rpartition(".")
    return _REAL_PLACES.get(name, ()) if module else ()


def _is_fraction(node: ast.expr) -> bool:
    """Tell whether an expression is surely a number that is not whole."""
    match node:
        case ast.Constant(value=float()) | ast.BinOp(op=ast.Div()):
            return True
        case ast.UnaryOp(op=ast.USub()):
            return _is_fraction(node.operand)
        case ast.BinOp(op=ast.Mult() | ast.Add() | ast.Sub()):
            return _is_fraction(node.left) or _is_fraction(node.right)
        case ast.Attribute():
            return dotted(node) in _REAL_NAMES
    return callee_of(node) in _REAL_CALLS


class _Table(msgspec.Struct, frozen=True):
    """The numbers of a list or a tuple: how many there are, the largest, and whether they are coordinates."""

    size: int = 0
    largest: float = 1.0
    is_coordinates: bool = False


def _table(syntax: PythonSyntax, node: ast.AST, known: dict[ast.AST, _Table]) -> _Table:
    """Return what is known about the outermost list around a literal."""
    top: ast.AST | None = None
    for above, _ in syntax.chain(node):
        if isinstance(above, ast.List | ast.Tuple):
            top = above
        elif not isinstance(above, ast.UnaryOp):
            break
    parent = syntax.parents.get(top) if top else None
    if top is None or (isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Tuple)):
        return _Table()
    if top not in known:
        negative = {each.operand for each in ast.walk(top) if isinstance(each, ast.UnaryOp)}
        numbers = [
            -each.value if each in negative else each.value
            for each in ast.walk(top)
            if isinstance(each, ast.Constant) and isinstance(each.value, int | float) and abs(each.value) < 1e100
        ]
        is_float = any(isinstance(number, float) for number in numbers)
        is_coordinates = is_float and len(numbers) > 1 and (len(numbers) > 3 or min(numbers) <= 0)
        known[top] = _Table(len(numbers), max(map(abs, numbers), default=0) or 1.0, is_coordinates)
    return known[top]


def python_spelled(value: Scalar, literal: SourceLiteral, old: bytes) -> bytes:
    """Return the Python spelling of a value; a string keeps the quotes of the old one, and `2**k` stays a power.

    Args:
        value: The new value.
        literal: The literal that it replaces.
        old: The present text of the literal.
    """
    if literal.is_word:
        return str(value).encode()
    quote = old[:1].decode()
    if isinstance(value, str) and quote in ("'", '"'):
        escaped = {"\\": r"\\", quote: f"\\{quote}"}
        plain = (escaped.get(c, c) if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
        return f"{quote}{''.join(plain)}{quote}".encode()
    if b"**" in old and type(value) is int and value > 1 and not value & (value - 1):
        base, space, _ = re.split(rb"(\*\*\s*)", old, maxsplit=1)
        return base + space + str(value.bit_length() - 1).encode()
    text = repr(value)
    is_new_sign = text.startswith("-") and not old.startswith(b"-") and not literal.is_named
    return f"({text})".encode() if is_new_sign else text.encode()


def _is_scalar(literal: object) -> bool:
    return isinstance(literal, bool | int | float | str)


PYTHON_FILES = Language(python_literals, python_spelled)
