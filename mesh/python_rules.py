"""Which literals of a Python source are worth a trial, and in which order.

The rules come from moves of every literal in 31 public tasks: indices, sizes, shapes, exponents, complements and bounds
of `range` almost only failed, seeds pick luck, and what is only printed has no effect. What judges (`validate`,
`is_solution`) is never turned: a gain there is a cheat.
"""

import ast
import re
from collections.abc import Iterator
from contextlib import suppress

from mesh.python_fields import given_fields
from mesh.python_syntax import NO_PYTHON, Function, PythonSyntax, callee_of, dotted, last_name
from mesh.python_verdicts import Verdicts, judges_in

_EPS = 1e-6
_LATE, _LAST = 2, 3
_SEED = re.compile(
    r"seed|random_state|prngkey|default_rng|randomstate|(^|_)rng\d*$|"
    r"(^|\.)(random\.random|random\.key|pcg64(dxsm)?|mt19937|philox|sfc64)$",
    re.IGNORECASE,
)
_SHOWN = re.compile(r"_*(plot|visuali[sz]e|print|display|show|report)(?![a-z])")
_CLOCK = re.compile(r"(^|_)(time|elapsed|budget|deadline|clock)(_|$)", re.IGNORECASE)
_DRAWS = ("randint", "randrange", "integers")
_SPOKEN = re.compile(r"(^|\.)(print|warn|write|debug|info|warning|error|exception|[A-Z]\w*(Error|Exception|Warning))$")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AXIS_WORDS = _words(
    """
    axis axes dim dims ndim ndmin indent verbose disable static_argnums static_argnames figsize dpi fontsize
    maxsplit keepdims stacklevel decimals digits precision rowvar ddof copy inplace size shape start_dim end_dim
    nargs width_ratios ignore_index maxlen exist_ok parents index endpoint reverse strip flush frozen eq order slots
    init repr nopython cache fastmath parallel nogil daemon num_workers is_causal causal training requires_grad
    allow_pickle set_to_none non_blocking pin_memory trust_remote_code check shell text capture_output newline
    encoding
    """
)
_AXIS_CALLS = _words(
    """
    sum mean std var min max argmin argmax argsort sort cumsum cumprod prod any all norm stack cat concatenate
    squeeze unsqueeze expand_dims transpose permute swapaxes moveaxis flatten softmax log_softmax size
    repeat_interleave take split chunk roll flip round pop insert getattr enumerate isinstance zfill ljust rjust
    index diff unbind select narrow rot90 exit sleep
    """
)
_BUILTIN = _words("min max any all sum")
_SHAPES = _words(
    """
    zeros ones empty full reshape view random randn eye normal rand uniform standard_normal identity arange tile
    repeat broadcast_to resize integers randint choice permutation expand
    """
)
_ONLY_SHAPE = _words(
    """
    zeros ones empty reshape view randn eye rand identity arange tile repeat broadcast_to resize permutation expand
    """
)


class PythonRules:
    """The reasons why literals of one source are not turned, and the order of the others."""

    def __init__(self, syntax: PythonSyntax) -> None:
        self._syntax = syntax
        self._judges = judges_in(syntax)
        self._verdicts = Verdicts(syntax, self._judges)
        self._changed = _counters(syntax)
        self._spoken = _spoken(syntax)
        self._given = given_fields(syntax)
        self._cases = _cases(syntax)

    def reason(self, node: ast.expr, value: object, name: str) -> str:
        """Return in a word why a literal is not turned, "" if it is."""
        chain = list(self._syntax.chain(node))
        return (
            self._outside(chain)
            or _seed(chain, name)
            or ("verdict" if self._verdicts.turn_on(chain) else "")
            or ("" if isinstance(value, str) else _place(chain, value) or self._use(node, chain, value))
        )

    def constant_reason(self, node: ast.expr) -> str:
        """Return in a word why the constant of a module is not turned, "" if it is."""
        chain = list(self._syntax.chain(node))
        if self._verdicts.turn_on(chain):
            return "verdict"
        targets = next((above.targets for above, _ in chain if isinstance(above, ast.Assign)), [])
        names = {last_name(target) for target in targets}
        return "printed" if names and all(map(self._only_tells, names)) else ""

    def _only_tells(self, name: str) -> bool:
        """Tell whether a constant of a module only decides when something is printed."""
        loads = [each for each in self._syntax.nodes if isinstance(each, ast.Name) and each.id == name]
        loads = [each for each in loads if isinstance(each.ctx, ast.Load)]
        return bool(loads) and all(map(self._is_cue, loads))

    def _is_cue(self, node: ast.expr) -> bool:
        """Tell whether a name is in the condition of a statement that only prints."""
        return any(
            isinstance(above, ast.If)
            and below is above.test
            and not above.orelse
            and all(map(self._speaks, above.body))
            for above, below in self._syntax.chain(node)
        )

    def priority(self, node: ast.expr, value: object) -> int:
        """Return when a literal is tried: 1 for parameters and assignments, 2 inside of expressions, 3 for the rest."""
        if isinstance(value, str):
            return _LATE
        parent = self._syntax.parents.get(node)
        above = self._syntax.parents.get(parent) if parent else None
        if isinstance(value, bool) or (isinstance(value, int | float) and 0 < abs(value) <= _EPS):
            return _LAST
        if value in (0, 1, -1) and isinstance(parent, ast.BinOp | ast.Compare | ast.Call):
            return _LAST
        if isinstance(parent, ast.Slice) or (isinstance(parent, ast.BinOp) and "pi" in map(last_name, _sides(parent))):
            return _LAST
        named = ast.keyword | ast.arguments | ast.Assign | ast.AnnAssign | ast.Dict
        is_element = isinstance(parent, ast.Tuple | ast.List) and isinstance(above, named)
        return 1 if isinstance(parent, named) or is_element else _LATE

    def counts(self, node: ast.expr) -> bool:
        """Tell whether a literal is the bound of a `range`: equal numbers of its function are moved with it."""
        return any(
            isinstance(above, ast.Call) and callee_of(above) == "range" and below in above.args
            for above, below in self._syntax.chain(node)
        )

    def _outside(self, chain: list[tuple[ast.AST, ast.AST]]) -> str:
        for above, below in chain:
            match above:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if above in self._judges:
                    return "judge"
                case ast.FunctionDef() | ast.AsyncFunctionDef() if below is above.returns:
                    return "annotation"
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if below in above.decorator_list:
                    return "decorator"
                case ast.FunctionDef() | ast.AsyncFunctionDef() if _SHOWN.match(above.name):
                    return "printed"
                case ast.arg() | ast.JoinedStr() | ast.FormattedValue():
                    return "message" if not isinstance(above, ast.arg) else "annotation"
                case ast.AnnAssign() if below is above.annotation:
                    return "annotation"
                case ast.AnnAssign() if above in self._given:
                    return "given"
                case ast.Raise() | ast.Assert():
                    return "message"
                case ast.Call() if _SPOKEN.search(callee_of(above)) and below is not above.func:
                    return "message"
                case ast.If() if below is above.test and all(map(self._speaks, above.body)):
                    return "printed"
                case ast.If() | ast.While() if below is above.test and _reads_clock(above):
                    return "judge"
                case ast.Assign() if all(last_name(target) in self._spoken for target in above.targets):
                    return "printed"
                case ast.match_case() if below is above.pattern:
                    return "key"
        return ""

    def _speaks(self, statement: ast.stmt) -> bool:
        """Tell whether a statement only prints, or only computes what is printed."""
        if isinstance(statement, ast.Assign):
            return all(last_name(target) in self._spoken for target in statement.targets)
        return isinstance(statement, ast.Expr) and bool(_SPOKEN.search(callee_of(statement.value)))

    def _use(self, node: ast.expr, chain: list[tuple[ast.AST, ast.AST]], value: object) -> str:
        """Return why the way in which a number is used rules it out."""
        parent = chain[0][0]
        if type(value) is int and value == 0 and not isinstance(parent, ast.keyword | ast.arguments | ast.AnnAssign):
            return "zero"
        if isinstance(parent, ast.Tuple) and isinstance(chain[1][0], ast.Assign) and value in (0, 1, -1):
            targets = chain[1][0].targets[0]
            return "counter" if isinstance(targets, ast.Tuple) else ""
        if isinstance(parent, ast.Assign | ast.AnnAssign | ast.AugAssign):
            function = next((above for above, _ in chain if isinstance(above, Function)), None)
            target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
            if value in (0, 1, -1) and (function, last_name(target)) in self._changed:
                return "counter"
            if (function, last_name(target), value) in self._cases:
                return "case"
            if isinstance(parent, ast.AugAssign) and value == 1 and type(value) is int:
                return "counter"
        is_count = isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2
        if is_count and isinstance(parent, ast.Assign | ast.arguments) and abs(value) in self._told(chain):  # type: ignore[arg-type]
            return "size"
        return ""

    def _told(self, chain: list[tuple[ast.AST, ast.AST]]) -> set[int]:
        """Return the numbers that the docstrings and the name of the function around tell."""
        numbers: set[int] = set()
        for above, _ in chain:
            if isinstance(above, Function):
                numbers |= _numbers(f"{ast.get_docstring(above) or ''} {above.name.replace('_', ' ')}")
        return numbers


def _seed(chain: list[tuple[ast.AST, ast.AST]], name: str) -> str:
    calls = [dotted(above.func) for above, below in chain if isinstance(above, ast.Call) and below is not above.func]
    name = name.rpartition(".")[2].partition("#")[0]
    if _SEED.search(name) or (calls and _SEED.search(calls[0])):
        return "seed"
    return "version" if "version" in name.lower() else ""


def _place(chain: list[tuple[ast.AST, ast.AST]], value: object) -> str:
    """Return why the place of a number or a boolean in its expression rules it out."""
    is_whole = isinstance(value, int)
    for above, below in chain:
        match above:
            case ast.Subscript() if below is above.slice:
                return "index"
            case ast.Dict() if below in above.keys:
                return "key"
            case ast.keyword() if above.arg in _AXIS_WORDS:
                return "axis"
            case ast.Call() if below is not above.func:
                name = callee_of(above).rpartition(".")[2]
                is_inside = below in above.args
                is_direct = below is chain[0][1]
                if is_inside and name == "range":
                    return "range"
                is_builtin = isinstance(above.func, ast.Name) and name in _BUILTIN
                if is_inside and is_whole and name in _AXIS_CALLS and is_direct and not is_builtin:
                    return "axis"
                if is_inside and is_whole and name in _SHAPES and (not is_direct or name in _ONLY_SHAPE):
                    return "shape"
                if value == 0 and name in _DRAWS:
                    return "index"
            case ast.Tuple() if value == 0 and is_whole and not _has_float(above):
                return "zero of a tuple"
            case ast.Compare() if below in above.comparators and isinstance(above.ops[0], ast.In | ast.NotIn):
                return "case"
            case ast.stmt():
                break
    return _operand(chain[0][0], chain[0][1], value)


def _operand(parent: ast.AST, child: ast.AST, value: object) -> str:
    """Return why the operator beside a literal rules it out."""
    match parent:
        case ast.BinOp(op=ast.Pow()) if child is parent.right and value in (2, 3, 4, -1, -2, 0.5, -0.5):
            return "exponent"
        case ast.BinOp(op=ast.Sub()) if child is parent.left and value == 1:
            return "complement"
        case ast.BinOp(op=ast.Mod()) if value == 2:
            return "parity"
        case ast.Compare() if any(
            isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In) for op in parent.ops
        ):
            return "case"
        case ast.Compare() if type(value) is int and abs(value) <= 1:
            return "case"
        case ast.Return() | ast.IfExp() if isinstance(value, int) and value in (0, 1, -1):
            return "verdict"
        case ast.Expr() | ast.While():
            return "statement"
    return ""


def _has_float(node: ast.expr) -> bool:
    return any(isinstance(each, ast.Constant) and isinstance(each.value, float) for each in ast.walk(node))


def _sides(node: ast.BinOp) -> tuple[ast.expr, ast.expr]:
    return node.left, node.right


def _reads_clock(statement: ast.If | ast.While) -> bool:
    """Tell whether a condition decides what time counts: its body counts time, or it is about time itself."""
    counted = [each.target for each in statement.body if isinstance(each, ast.AugAssign)]
    names = [*map(last_name, counted), *map(last_name, ast.walk(statement.test))]
    return any(map(_CLOCK.search, names))


def _spoken(syntax: PythonSyntax) -> set[str]:
    """Return the names that are only printed, or only lead to names that are."""
    loads: dict[str, list[str]] = {}
    for node in syntax.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            loads.setdefault(node.id, []).append(_leads_to(syntax, node))
    found: set[str] = set()
    while True:
        more = {name for name, ends in loads.items() if name not in found and set(ends) <= found | {"print", name}}
        more = {name for name in more if set(loads[name]) != {name}}
        if not more:
            return found
        found |= more


def _leads_to(syntax: PythonSyntax, node: ast.Name) -> str:
    """Return "print" if a name is printed there, the variable that it is assigned to, or "" for any other use."""
    for above, below in syntax.chain(node):
        match above:
            case ast.FormattedValue():
                return "print"
            case ast.Call() if _SPOKEN.search(callee_of(above)) and below is not above.func:
                return "print"
            case ast.Assign() if len(above.targets) == 1 and isinstance(above.targets[0], ast.Name):
                return above.targets[0].id
            case ast.AugAssign() if isinstance(above.target, ast.Name):
                return above.target.id
            case ast.stmt():
                return ""
    return ""


def _numbers(text: str) -> set[int]:
    return {int(word) for word in re.findall(r"(?<![\w.])\d{1,9}(?![\d.]\d)", text)}


def _counters(syntax: PythonSyntax) -> set[tuple[ast.AST | None, str]]:
    """Return the names, with their functions, that are counted up or set to a literal more than once."""
    literal: dict[tuple[ast.AST | None, str], int] = {}
    found: set[tuple[ast.AST | None, str]] = set()
    for node in syntax.nodes:
        for name, is_literal in _assigned(node):
            function = next((above for above, _ in syntax.chain(node) if isinstance(above, Function)), None)
            if not is_literal:
                found.add((function, name))
            else:
                literal[function, name] = literal.get((function, name), 0) + 1
    return found | {key for key, times in literal.items() if times > 1}


def _cases(syntax: PythonSyntax) -> set[tuple[ast.AST | None, str, float]]:
    """Return the names, with their functions, and the numbers that they are asked for: the -1 of `best == -1`."""
    found: set[tuple[ast.AST | None, str, float]] = set()
    for node in syntax.nodes:
        match node:
            case ast.Compare(left=ast.Name(id=name), ops=[ast.Eq() | ast.NotEq()], comparators=[number]):
                function = next((above for above, _ in syntax.chain(node) if isinstance(above, Function)), None)
                with suppress(*NO_PYTHON, TypeError):
                    found.add((function, name, float(ast.literal_eval(number))))
    return found


def _assigned(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield the name that a statement counts up (False) or sets to a literal (True)."""
    if isinstance(node, ast.AugAssign):
        yield last_name(node.target), False
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        name = last_name(node.targets[0])
        if isinstance(node.value, ast.Constant):
            yield name, True
        elif any(
            isinstance(each, ast.Name | ast.Attribute) and last_name(each) == name for each in ast.walk(node.value)
        ):
            yield name, False
