"""The name of a literal in a Python source: the function it stands in, and the name nearest to it.

`train.lr` is the keyword or the assignment `lr` in the function `train`; `Config.depth` a field; `points[3][0]` an
element of a table. No name depends on a value. Literals of one place are numbered in their order: `train.lr#2`.
"""

import ast
import re

from mesh.python_syntax import Function, PythonSyntax, callee_of, last_name

LONGEST_NAME = 200
"""Longest name before its number, in characters."""


def literal_scope(syntax: PythonSyntax, node: ast.AST) -> str:
    """Return the classes and functions around a node, such as `GPT.init_weights`; "" in the module."""
    names: list[str] = []
    for above, below in syntax.chain(node):
        is_inside = isinstance(above, Function) and (below in above.body or isinstance(below, ast.arguments))
        if is_inside or (isinstance(above, ast.ClassDef) and below in above.body):
            assert isinstance(above, Function | ast.ClassDef)
            names.append(above.name)
    return ".".join(reversed(names))


def literal_role(syntax: PythonSyntax, node: ast.AST) -> str:
    """Return what a literal is for: a keyword, a parameter, a key, the target of an assignment, else a call."""
    path, call = "", ""
    for above, below in syntax.chain(node):
        name = ""
        match above:
            case ast.List() | ast.Tuple() | ast.Set():
                path = f"[{above.elts.index(below)}]{path}" if below in above.elts else path
            case ast.keyword():
                name = _option(syntax, above) or above.arg or ""
            case ast.arguments():
                name = parameter_of(above, below)
            case ast.Dict() if below in above.values:
                name = _key(above.keys[above.values.index(below)])
            case ast.NamedExpr():
                name = above.target.id
            case ast.Assign():
                name, path = _target(above.targets[0], path)
            case ast.AnnAssign() | ast.AugAssign():
                name = last_name(above.target)
            case ast.Call() if below in above.args and not call:
                call = callee_of(above).rpartition(".")[2]
                name = _key(above.args[0]) if call == "get" and below is not above.args[0] else ""
        if name:
            return f"{name}{path}"
        if isinstance(above, ast.stmt):
            return f"{call or _statement(syntax, node, above)}{path}"
    return f"{call or 'value'}{path}"


def parameter_of(arguments: ast.arguments, default: ast.AST) -> str:
    """Return the parameter that a default belongs to; "" if it is none."""
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(positional[::-1], arguments.defaults[::-1], strict=False)]
    pairs += [(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return next((arg.arg for arg, value in pairs if value is default), "")


def longest_option(call: ast.Call) -> str:
    """Return `learning-rate` for `add_argument("-l", "--learning-rate")`; "" if the call names no option."""
    words = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return _plain(max(words, key=len).lstrip("-")) if words else ""


def _option(syntax: PythonSyntax, keyword: ast.keyword) -> str:
    """Return `lr` for the default of `add_argument("--lr", default=0.1)`."""
    call = syntax.parents.get(keyword)
    if keyword.arg != "default" or not isinstance(call, ast.Call) or not callee_of(call).endswith("add_argument"):
        return ""
    return longest_option(call)


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _plain(node.value)
    return last_name(node) if node else ""


def _plain(text: str) -> str:
    return re.sub(r"[^\w-]", "_", text)[:40]


def _target(target: ast.expr, path: str) -> tuple[str, str]:
    """Return the name of a target and the rest of the path: of `a, b = 1, 2` each value has a name of its own."""
    if isinstance(target, ast.Tuple) and (match := re.match(r"\[(\d+)\]", path)) and int(match[1]) < len(target.elts):
        return last_name(target.elts[int(match[1])]), path[match.end() :]
    if isinstance(target, ast.Tuple):
        return "_".join(filter(None, map(last_name, target.elts)))[:40], path
    return last_name(target), path


def _statement(syntax: PythonSyntax, node: ast.AST, statement: ast.stmt) -> str:
    """Return the kind of a statement and the name that the literal is compared or computed with: `if.step`."""
    word = type(statement).__name__.lower().removeprefix("async").removesuffix("def")
    for above, below in syntax.chain(node):
        if isinstance(above, ast.Compare | ast.BinOp):
            others = [above.left, *above.comparators] if isinstance(above, ast.Compare) else [above.left, above.right]
            beside = next((name for other in others if other is not below and (name := last_name(other))), "")
            if beside:
                return f"{word}.{beside}"
        if above is statement:
            break
    return word
