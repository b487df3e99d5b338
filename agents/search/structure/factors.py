"""Identity factors: an expression `e` that has no number of its own becomes `e * 1.1` or `e + 0.1`.

With 1 and 0 in their place the program computes the same to the last bit. A proposal puts one such number into the
best code, away from 1 or 0, so that no needless ones pile up. If it gains, it is a literal as any other, which the walk
turns further. It pays where a program has few literals, or none.

Only what is surely a float is changed: it is made of a float, of a function of `math`, `random` or `numpy` that gives
floats, or of names and functions that are, as an annotation `float` may say. What judges, seeds, indices, sizes, bounds
of `range`, texts and what is only printed stay as they are, and so does code outside of the editable regions.
"""

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from agents.search.structure.tables import Rewriting
from mesh.editable_regions import editable_spans
from mesh.literals import literals_of
from mesh.python_rules import PythonRules
from mesh.python_syntax import NO_PYTHON, Function, PythonSyntax, callee_of, last_name, parse_python

FACTORS = "factors"
"""The name of the sampler."""

MOST_SITES = 40
"""Most expressions of a file that get a number."""

MULTIPLIED, ADDED = (1.1, 0.9, 2.0, 0.5), (0.1, -0.1)
"""The numbers that are tried in the place of 1 and of 0."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OF_FLOATS = _names(
    "sqrt exp log log2 log10 log1p expm1 sin cos tan asin acos atan atan2 arcsin arccos arctan arctan2 sinh cosh tanh "
    "hypot power float"
)
"""Functions that take any number and give a float."""
_FLOATS = _OF_FLOATS | _names("linspace uniform gauss normal standard_normal rand randn mean std logspace")
"""Functions that give a float, or an array of floats."""
_FILLED = _names("zeros ones empty")
_MODULES = _names("math cmath random numpy np numpy.random np.random rng self.rng")

_RESULT = re.compile(r"score|loss|bound|objective|fitness|metric|error|cost|total|ratio|reward|val(ue)?$|sum")
"""Names of what a program says of its own result."""

_A_FLOAT = ast.Constant(0.0)
_Scope = ast.AST | None


class FactorSite(msgspec.Struct, frozen=True):
    """An expression that may get a number: its bytes, whether it needs brackets before `*`, and where it stands."""

    start: int
    end: int
    is_sum: bool
    can_multiply: bool
    can_add: bool
    name: str


def factored(source: str) -> Iterator[Rewriting]:
    """Yield the sources of a Python program with one number more, in the order in which they are worth a trial.

    Args:
        source: The text of the file.
    """
    data = source.encode()
    sites = factor_sites(source)
    for place in range(max(len(MULTIPLIED), len(ADDED))):
        for site in sites:
            text = data[site.start : site.end].decode()
            if site.can_multiply and place < len(MULTIPLIED):
                new = f"({text}) * {MULTIPLIED[place]}" if site.is_sum else f"{text} * {MULTIPLIED[place]}"
                yield Rewriting(_put(data, site, new), f"{site.name} times {MULTIPLIED[place]}")
            if site.can_add and place < len(ADDED):
                sign = "+" if ADDED[place] > 0 else "-"
                new = f"{text} {sign} {abs(ADDED[place])}"
                yield Rewriting(_put(data, site, f"({new})"), f"{site.name} {sign} {abs(ADDED[place])}")


def neutral(source: str) -> Iterator[Rewriting]:
    """Yield the sources of a Python program with one number more that changes nothing: ` * 1.0`, then ` + 0.0`."""
    data = source.encode()
    for site in factor_sites(source):
        text = data[site.start : site.end].decode()
        if site.can_multiply:
            yield Rewriting(_put(data, site, f"({text}) * 1.0" if site.is_sum else f"{text} * 1.0"), site.name)
        if site.can_add:
            yield Rewriting(_put(data, site, f"({text} + 0.0)"), site.name)


def _put(data: bytes, site: FactorSite, text: str) -> str:
    return (data[: site.start] + text.encode() + data[site.end :]).decode()


@lru_cache(maxsize=32)
def factor_sites(source: str) -> tuple[FactorSite, ...]:
    """Return the expressions of a Python source that may get a number, in the order in which they stand.

    Args:
        source: The text of the file.
    """
    try:
        syntax = PythonSyntax(source)
        rules, data = PythonRules(syntax), source.encode()
        spans = editable_spans(data)
        known = _turned(source)
    except NO_PYTHON:
        return ()
    floats = _Floats(syntax)
    found: list[FactorSite] = []
    for node in sorted((each for each in syntax.nodes if isinstance(each, ast.expr)), key=_order):
        parent = syntax.parents.get(node)
        if not _is_place(node, parent, syntax) or not floats.may_be_float(node, parent):
            continue
        start, end = syntax.span(node)
        is_inside = any(low <= start and end <= high for low, high in spans)
        if not is_inside or rules.reason(node, 1.5, "") or node.lineno != node.end_lineno:
            continue
        factor = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div) and _has_number(node)
        term = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub) and _has_number(node)
        is_sum = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub)
        site = FactorSite(start, end, is_sum, not factor, not term, _where(syntax, node, parent))
        is_returned = isinstance(parent, ast.Return | ast.Tuple)
        if _RESULT.search(site.name.rpartition(".")[2]) or (is_returned and _is_result(node)):
            continue  # what a program says of itself, such as its own score
        if _keeps_names(data, site, known):
            found.append(site)
    return tuple(found[:MOST_SITES])


def _order(node: ast.expr) -> tuple[int, int]:
    return node.lineno, node.col_offset


def _is_place(node: ast.expr, parent: ast.AST | None, syntax: PythonSyntax) -> bool:
    """Tell whether an expression is a whole one: what is assigned or returned, or an argument of a float function."""
    if not isinstance(node, ast.BinOp | ast.Call | ast.Name) or _is_complement(node):
        return False
    match parent:
        case ast.Assign() | ast.AnnAssign() if node is parent.value:
            return not isinstance(node, ast.Name)  # another name of the same object
        case ast.AugAssign() if node is parent.value:
            return isinstance(parent.op, ast.Add | ast.Sub)
        case ast.Return():
            return True
        case ast.Tuple() if isinstance(syntax.parents.get(parent), ast.Return):
            return True
        case ast.Call() if node in parent.args:
            return _is_of(parent, _OF_FLOATS) and isinstance(node, ast.BinOp)
    return False


def _is_complement(node: ast.expr) -> bool:
    """Tell whether an expression is `1 - e`: with another number it only bends the rule that it states."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and isinstance(node.left, ast.Constant)
        and node.left.value == 1
    )


class _Floats:
    """What is surely a float, or an array of floats, in a source."""

    def __init__(self, syntax: PythonSyntax) -> None:
        self._syntax = syntax
        self._bound: dict[tuple[_Scope, str], list[ast.expr | None]] = {}
        self._functions = {
            node.name for node in syntax.nodes if isinstance(node, Function) and _says_float(node.returns)
        }
        for node in syntax.nodes:
            for name, value in _bindings(node):
                self._bound.setdefault((self._scope(node), name), []).append(value)

    def may_be_float(self, node: ast.expr, parent: ast.AST | None) -> bool:
        """Tell whether an expression is surely a float, or stands where any number is taken for one."""
        if isinstance(parent, ast.Call) and node in parent.args:
            return not _is_text(node)
        scope = self._scope(node)
        if isinstance(parent, ast.Return) and isinstance(scope, Function) and _says_float(scope.returns):
            return True
        if isinstance(parent, ast.AnnAssign) and _says_float(parent.annotation):
            return True
        return self.is_float(node, scope)

    def is_float(self, node: ast.expr, scope: _Scope, depth: int = 0) -> bool:
        """Tell whether an expression is surely a float or an array of floats."""
        if depth > 12:
            return False
        match node:
            case ast.Constant(value=value):
                return isinstance(value, float)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self.is_float(operand, scope, depth + 1)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow(), right=right):
                sides = (left, right)
                if any(isinstance(each, ast.List | ast.Tuple | ast.JoinedStr | ast.Dict) for each in sides):
                    return False
                return any(self.is_float(side, scope, depth + 1) for side in sides)
            case ast.Attribute(attr="pi" | "e" | "tau"):
                return True
            case ast.Call():
                is_filled = _is_of(node, _FILLED) and len(node.args) == 1 and not node.keywords
                return is_filled or _is_of(node, _FLOATS) or callee_of(node) in self._functions
            case ast.Name(id=name):
                values = self._bound.get((scope, name), [])
                return bool(values) and all(
                    value is not None and self.is_float(value, scope, depth + 1) for value in values
                )
        return False

    def _scope(self, node: ast.AST) -> _Scope:
        return next((above for above, _ in self._syntax.chain(node) if isinstance(above, Function | ast.Lambda)), None)


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the names that a node binds, with the values that say whether they are floats; None if nothing does."""
    match node:
        case (
            ast.arg(arg=name, annotation=annotation) | ast.AnnAssign(target=ast.Name(id=name), annotation=annotation)
        ) if _says_float(annotation):
            yield name, _A_FLOAT
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            yield name, value
        case ast.Assign(targets=targets):
            for each in (part for target in targets for part in ast.walk(target)):
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    yield each.id, None
        case ast.AugAssign(target=ast.Name(id=name), op=op):
            if not isinstance(op, ast.Add | ast.Sub | ast.Mult | ast.Div):
                yield name, None
        case ast.arg(arg=name):
            yield name, None
        case ast.For(target=target) | ast.comprehension(target=target) | ast.NamedExpr(target=target):
            for each in ast.walk(target):
                if isinstance(each, ast.Name):
                    yield each.id, None
        case ast.withitem(optional_vars=ast.Name(id=name)) | ast.ExceptHandler(name=str() as name):
            yield name, None
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield from ((name, None) for name in names)


def _says_float(annotation: ast.expr | None) -> bool:
    return isinstance(annotation, ast.Name) and annotation.id == "float"


def _is_of(call: ast.Call, functions: frozenset[str]) -> bool:
    """Tell whether a call is one of the functions of `math`, `random` or `numpy`, or `float`."""
    module, _, name = callee_of(call).rpartition(".")
    return name in functions and (module in _MODULES or (not module and name in ("float", "sqrt", "hypot")))


def _is_text(node: ast.expr) -> bool:
    return any(
        isinstance(each, ast.JoinedStr | ast.Constant) and isinstance(getattr(each, "value", ""), str)
        for each in ast.walk(node)
    )


def _has_number(node: ast.BinOp) -> bool:
    """Tell whether a product or a sum has a literal already, which is a knob."""
    sides = [side.operand if isinstance(side, ast.UnaryOp) else side for side in (node.left, node.right)]
    if any(isinstance(side, ast.Constant) for side in sides):
        return True
    inner = [side for side in sides if isinstance(side, ast.BinOp) and type(side.op) is type(node.op)]
    return any(_has_number(side) for side in inner)


def _where(syntax: PythonSyntax, node: ast.expr, parent: ast.AST | None) -> str:
    function = next((above.name for above, _ in syntax.chain(node) if isinstance(above, Function)), "")
    match parent:
        case ast.Assign(targets=[target]):
            role = last_name(target) or "value"
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            role = last_name(target) or "value"
        case ast.Call():
            role = callee_of(parent).rpartition(".")[2]
        case _:
            role = "return"
    return f"{function}.{role}".lstrip(".")


def _keeps_names(data: bytes, site: FactorSite, known: dict[str, object]) -> bool:
    """Tell whether all literals keep their names and values: results are known by the names of knobs."""
    text = data[site.start : site.end].decode()
    for new in (f"({text}) * 1.5", f"({text} + 1.5)"):
        try:
            source = _put(data, site, new)
            parse_python(source)
        except NO_PYTHON:
            return False
        if not known.items() <= _turned(source).items():
            return False
    return True


def _turned(source: str) -> dict[str, object]:
    """Return the literals that may be turned, alone or with their equals."""
    return {each.name: each.value for each in literals_of("x.py", source) if each.excluded in ("", "range")}


def _is_result(node: ast.expr) -> bool:
    return any(isinstance(each, ast.Name) and bool(_RESULT.search(each.id)) for each in ast.walk(node))
