"""What judges in a Python source: functions such as `validate`, and numbers by which a program says that it is good.

A gain by any of them is a cheat. They are `is_valid = error < 1e-6`, the distance below which a collision is counted,
and what a function reads that says yes or no about a result: `self.order` in `is_solution`, `TOLERANCE` in `check`. So
is the world that a method such as `get_metrics` measures: how wide it is, and how many things are in it.
"""

import ast
import re
from collections.abc import Iterator, Sequence

from mesh.python_names import longest_option
from mesh.python_syntax import Function, PythonSyntax, callee_of, dotted, last_name

_JUDGE = re.compile(r"_*(validate|check|verify|evaluate|is_valid|is_solution|is_feasible|test)(?![a-z])")
_SCORE = re.compile(r"_*(calc|calculate|compute|get|final|total)_(score|scores|metric|metrics|fitness)(?![a-z])")
_METRICS = re.compile(r"_*(calc|calculate|compute|get|final|total)_metrics?")
_JUDGES = re.compile(r"(Evaluator|Validator|Checker|Verifier)$")
_VERDICT = re.compile(r"(is_|all_)?(correct|valid|feasible|passed|verified|solved)")
_FAULTS = re.compile(r"collision|violation|conflict|fault|failure|invalid|infeasib|mistake")
_YES_OR_NO = re.compile(r"(^|\.)(allclose|isclose|array_equal|all|any|bool)$")

_Name = tuple[ast.AST | None, str]


def judges_in(syntax: PythonSyntax) -> set[ast.AST]:
    """Return what judges: functions and classes, functions whose answer they compare with, and what only those call.

    If `is_solution(problem, solution)` calls `solve(problem)`, whatever `solve` answers is right.
    """
    functions = [node for node in syntax.nodes if isinstance(node, Function)]
    judges: set[ast.AST] = {node for node in functions if _JUDGE.match(node.name) or _SCORE.fullmatch(node.name)}
    judges |= {node for node in syntax.nodes if isinstance(node, ast.ClassDef) and _JUDGES.search(node.name)}
    if not judges:
        return judges
    answers = {name for judge in judges if isinstance(judge, Function) for name in _answers_again(judge)}
    judges |= {node for node in functions if node.name in answers}
    users: dict[str, list[set[ast.AST]]] = {}
    for node in syntax.nodes:
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            around: set[ast.AST] = {
                above for above, _ in syntax.chain(node) if isinstance(above, Function | ast.ClassDef)
            }
            users.setdefault(dotted(node).rpartition(".")[2], []).append(around)
    while True:
        more = {
            node
            for node in functions
            if node not in judges and (uses := users.get(node.name)) and all(use & (judges | {node}) for use in uses)
        }
        more = {node for node in more if any(use & judges for use in users[node.name])}
        if not more:
            return judges
        judges |= more


class Verdicts:
    """What decides in one source whether a result is good."""

    def __init__(self, syntax: PythonSyntax, judges: set[ast.AST]) -> None:
        self._weighed = _weighed(syntax)
        world = _world(syntax)
        self._read = _read(syntax, judges) | world
        self._given = _given(syntax, world)

    def turn_on(self, chain: Sequence[tuple[ast.AST, ast.AST]]) -> bool:
        """Tell whether a verdict turns on a literal.

        Args:
            chain: What stands around the literal, as `PythonSyntax.chain` yields it.
        """
        functions = [above for above, _ in chain if isinstance(above, Function)]
        for above, below in chain:
            if _verdict(above) is below:
                return True
            match above:
                case ast.Call() if callee_of(above).endswith("add_argument"):
                    return longest_option(above).replace("-", "_") in self._given
                case ast.Assign(targets=[ast.Name(id=name)]):
                    return (functions[0] if functions else None, name) in self._weighed or (
                        not functions and name in self._read | self._given
                    )
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]):
                    return f".{name}" in self._read
                case ast.AnnAssign(target=ast.Name(id=name)):
                    return not functions and (name in self._read or f".{name}" in self._read)
                case ast.arguments() if functions and functions[0].name == "__init__":
                    return any(f".{name}" in self._read for name in _parameters(above, below))
                case ast.stmt():
                    return False
        return False


def _parameters(arguments: ast.arguments, default: ast.AST) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(positional[::-1], arguments.defaults[::-1], strict=False)]
    pairs += [(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    yield from (arg.arg for arg, value in pairs if value is default)


def _read(syntax: PythonSyntax, judges: set[ast.AST]) -> set[str]:
    """Return the names, and the attributes with a point before them, that functions read which say yes or no."""
    found: set[str] = set()
    for judge in judges:
        if not isinstance(judge, Function) or not _says_yes_or_no(judge):
            continue
        own = {each.id for each in ast.walk(judge) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        for node in ast.walk(judge):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and dotted(node.value) == "self":
                found.add(f".{node.attr}")
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in own:
                found.add(node.id)
    return found


def _world(syntax: PythonSyntax) -> set[str]:
    """Return what makes the world that methods such as `get_metrics` measure, with a point before each name.

    These are the attributes that they compute with, and the parameters of `__init__` that say how many things they
    look at: `count` of `for _ in range(count): self.birds.append(...)`. What they only pass on is none.
    """
    found: set[str] = set()
    for owner in syntax.nodes:
        if not isinstance(owner, ast.ClassDef):
            continue
        methods = [each for each in owner.body if isinstance(each, Function)]
        read: set[str] = set()
        for method in methods:
            if _METRICS.fullmatch(method.name):
                read |= _computed_with(syntax, method)
        if not read:
            continue
        found |= {f".{name}" for name in read}
        for method in methods:
            if method.name == "__init__":
                found |= {f".{name}" for name in _counts(method, read)}
    return found


def _computed_with(syntax: PythonSyntax, method: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the attributes of `self` that a method reads for more than to pass them on."""
    passed_on = (ast.Dict, ast.Return, ast.Tuple, ast.List, ast.Assign)
    return {
        node.attr
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and dotted(node.value) == "self"
        and not isinstance(syntax.parents.get(node), passed_on)
    }


def _counts(init: ast.FunctionDef | ast.AsyncFunctionDef, lists: set[str]) -> Iterator[str]:
    """Yield the names that bound a `range` by which a list of `self` is filled."""
    for node in ast.walk(init):
        match node:
            case ast.For(iter=ast.Call(args=[ast.Name(id=name)]) as bound, body=body):
                calls = [callee_of(each) for statement in body for each in ast.walk(statement)]
                filled = any(call.startswith("self.") and call.split(".")[1] in lists for call in calls)
            case ast.Assign(
                targets=[target], value=ast.ListComp(generators=[ast.comprehension(iter=ast.Call() as bound)])
            ) if isinstance(bound.args[0] if bound.args else None, ast.Name):
                name, filled = last_name(bound.args[0]), last_name(target) in lists
            case _:
                continue
        if filled and callee_of(bound) == "range":
            yield name


def _given(syntax: PythonSyntax, world: set[str]) -> set[str]:
    """Return the names, such as that of `args.birds`, whose values a class gets for parameters that make its world."""
    classes = {node.name for node in syntax.nodes if isinstance(node, ast.ClassDef)} if world else set()
    return {
        last_name(option.value)
        for node in syntax.nodes
        if isinstance(node, ast.Call) and callee_of(node).rpartition(".")[2] in classes
        for option in node.keywords
        if f".{option.arg}" in world and isinstance(option.value, ast.Name | ast.Attribute)
    }


def _answers_again(judge: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the functions that a judge asks about the problem alone: without the answer, its last parameter."""
    names = [arg.arg for arg in (*judge.args.posonlyargs, *judge.args.args) if arg.arg not in ("self", "cls")]
    if len(names) < 2 or not _says_yes_or_no(judge):
        return
    for node in ast.walk(judge):
        match node:
            case ast.Assign(value=ast.Call(args=[ast.Name(), *_] as given, keywords=[]) as call) if all(
                isinstance(each, ast.Name) and each.id in names[:-1] for each in given
            ):
                owner, _, name = callee_of(call).rpartition(".")
                if owner in ("", "self", "cls"):
                    yield name


def _says_yes_or_no(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function returns True or False, alone or before a message."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Return):
            continue
        value = node.value.elts[0] if isinstance(node.value, ast.Tuple) and node.value.elts else node.value
        match value:
            case ast.Constant(value=bool()) | ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
                return True
            case ast.Call() if _YES_OR_NO.search(callee_of(value)):
                return True
    return False


def _verdict(statement: ast.AST) -> ast.expr | None:
    """Return the expression of a statement that decides whether a result is good; None if it has none.

    So do `is_valid = error < 1e-6`, and the condition of an `if` that only counts collisions, violations or the like.
    """
    match statement:
        case (
            ast.Assign(targets=[target], value=ast.Compare() | ast.BoolOp() as value)
            | ast.AnnAssign(target=target, value=ast.Compare() | ast.BoolOp() as value)
        ) if _VERDICT.fullmatch(last_name(target)):
            return value
        case ast.If(test=test, body=body, orelse=[]) if all(
            isinstance(each, ast.AugAssign) and _FAULTS.search(last_name(each.target)) for each in body
        ):
            return test
    return None


def _weighed(syntax: PythonSyntax) -> set[tuple[ast.AST | None, str]]:
    """Return the names, with their functions, that are only used to decide whether a result is good."""
    ends: dict[tuple[ast.AST | None, str], set[bool]] = {}
    for node in syntax.nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            chain = list(syntax.chain(node))
            function = next((above for above, _ in chain if isinstance(above, Function)), None)
            is_verdict = any(_verdict(above) is below for above, below in chain)
            ends.setdefault((function, node.id), set()).add(is_verdict)
    return {name for name, uses in ends.items() if uses == {True}}
