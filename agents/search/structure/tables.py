"""Tables: an array that a program builds from nothing is written out as numbers, so that each of them can be turned.

`centers = np.zeros((26, 2))` with the loops that fill it becomes `centers = np.array([[0.5, 0.5], …])`. The program
computes the same, up to rounding. An array that is too long for a table is multiplied by a profile: a line through a
few factors, all 1 at first. An array of equal numbers that a function
returns becomes a table where there are no others. The values are computed
without running the program (`constant_folding`). What judges is left alone, and so is everything outside of the
editable regions.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from agents.search.structure import quasi_random
from agents.search.structure.constant_folding import ConstantFolding, NotConstant, Returned
from mesh.editable_regions import editable_spans
from mesh.python_syntax import NO_PYTHON, Function, PythonSyntax, callee_of, parse_python
from mesh.python_verdicts import judges_in

_LEAST, _MOST = 4, 300
"""Fewest and most numbers of a table."""

_LONGEST, _PROFILE = 20_000, 24
"""Most numbers of an array that gets a profile, and the factors of one."""

_WIDTH = 110
"""Longest line of a table that is written."""


_KNOWN = ("math", "numpy", *quasi_random.QMC_PACKAGES)
_RESULT = "return"
"""In place of a name: the table is what a function returns."""


class Rewriting(msgspec.Struct, frozen=True):
    """A new source of a file, and in words what is new in it."""

    source: str
    title: str


class _Table(msgspec.Struct, frozen=True):
    """An array or a list of a block: the statements that build it, and its value after the last one."""

    name: str
    scope: str
    value: Any
    statements: tuple[ast.stmt, ...]
    is_whole: bool
    is_result: bool = False


@lru_cache(maxsize=32)
def with_tables(source: str) -> Rewriting | None:
    """Return a Python source whose arrays without arguments are literal tables; None if it has none.

    Args:
        source: The text of the file.
    """
    try:
        syntax = PythonSyntax(source)
        found = [table for table in _tables(syntax) if not (_is_long(table.value) and ".interp(" in source)]
        for kind in (_is_varied, _is_uniform, _is_long):
            tables = [t for t in found if kind(t.value) and (t.is_result or kind is not _is_uniform)]
            edits = [edit for table in tables if (edit := _edit(syntax, source.encode(), table))]
            if edits:
                break
        else:
            return None
        data = source.encode()
        for start, end, text in sorted(edits, reverse=True):
            data = data[:start] + text.encode() + data[end:]
        new = data.decode()
        parse_python(new)
    except NO_PYTHON:
        return None
    words = [f"{table.name} of {table.scope or 'the module'}" for table in tables]
    how = "multiplied by a profile of factors" if kind is _is_long else "written out as numbers"
    return Rewriting(new, f"{', '.join(words[:3])} {how}")


def _tables(syntax: PythonSyntax) -> Iterator[_Table]:
    modules = _imported(syntax.module)
    judges = judges_in(syntax)
    known = ConstantFolding(modules)
    yield from _in_block(syntax.module.body, known, "")
    for node in syntax.nodes:
        around = [node, *(above for above, _ in syntax.chain(node))]
        if (
            isinstance(node, Function)
            and not judges & {*around}
            and not any(isinstance(n, ast.ClassDef) for n in around)
        ):
            own = ConstantFolding(modules, _immutable(known.values))
            for name in [*_parameters(node.args), *_stored(node.body)]:
                own.values.pop(name, None)
            positional = [*node.args.posonlyargs, *node.args.args]
            for parameter, default in zip(positional[::-1], node.args.defaults[::-1], strict=False):
                if isinstance(default, ast.Constant) and isinstance(default.value, int | float):
                    own.values[parameter.arg] = default.value
            whole = _early_returned(node.body, ConstantFolding(modules, own.values), node.name)
            yield from [whole] if whole else _in_block(node.body, own, node.name)


def _in_block(body: Sequence[ast.stmt], known: ConstantFolding, scope: str) -> Iterator[_Table]:
    """Yield the tables of a block: what is complete and used later by something that cannot be computed here."""
    computed: list[bool] = []
    after: list[dict[str, Any]] = []
    for statement in body:
        if scope and statement is body[-1] and (result := _returned(statement, known, scope)):
            yield result  # what it is made of is no table of its own then
            return
        try:
            known.run(statement)
            computed.append(True)
        except NotConstant:
            computed.append(False)
            _forget(known, statement)
        after.append({name: _copied(value) for name, value in known.values.items()})
    for name in dict.fromkeys(name for statement in body for name in _stored([statement])):
        places = [n for n, statement in enumerate(body) if name in _stored([statement])]
        first, last = places[0], places[-1]
        value = after[last].get(name)
        later = [n for n in range(last + 1, len(body)) if not computed[n] and name in _loaded([body[n]])]
        used_inside = scope == "" and any(isinstance(each, Function | ast.ClassDef) for each in body)
        if not _is_table(value) or not (later or used_inside) or not computed[last]:
            continue
        if _is_written_out(body[last]):
            continue
        while first and computed[first - 1] and (made := _stored([body[first - 1]])):
            if scope == "" or made & _loaded([*body[: first - 1], *body[last + 1 :]]):
                break  # only what nothing else needs gives way
            first -= 1
        between = range(first, last + 1)
        building = [n for n in between if _stored([body[n]]) and computed[n]]
        others = {other for n in building for other in _stored([body[n]])} - {name}
        needed = _loaded([*body[last + 1 :], *(body[n] for n in between if n not in building)])
        is_whole = len(building) == len(between) and not others & needed
        is_result = any(_gives_back(body[n], name) for n in later)
        yield _Table(name, scope, value, tuple(body[n] for n in between), is_whole, is_result)


def _gives_back(statement: ast.stmt, name: str) -> bool:
    """Tell whether a statement returns what has a name, alone or in a tuple."""
    value = statement.value if isinstance(statement, ast.Return) else None
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    return any(isinstance(part, ast.Name) and part.id == name for part in parts)


def _early_returned(body: Sequence[ast.stmt], known: ConstantFolding, scope: str) -> _Table | None:
    """Return the table that a function gives back out of a loop or a condition, in the place of all its statements."""
    if not any(isinstance(each, ast.Return) for statement in body[:-1] for each in ast.walk(statement)):
        return None
    start = 1 if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else 0
    try:
        for statement in body:
            known.run(statement)
    except Returned as end:
        is_whole = _is_table(end.value) and not any(isinstance(each, Function) for each in body)
        return (
            _Table(_RESULT, scope, end.value, tuple(body[start:]), is_whole=True, is_result=True) if is_whole else None
        )
    except NotConstant:
        return None
    return None


def _returned(statement: ast.stmt, known: ConstantFolding, scope: str) -> _Table | None:
    """Return the table that a function gives back without a name of its own, such as a stack of two arrays."""
    value = statement.value if isinstance(statement, ast.Return) else None
    if value is None or isinstance(value, ast.Name) or _is_literal(value):
        return None
    try:
        known.run(ast.Assign(targets=[ast.Name(_RESULT, ast.Store())], value=value))
    except NotConstant:
        return None
    found = known.values.pop(_RESULT)
    return _Table(_RESULT, scope, found, (statement,), is_whole=True, is_result=True) if _is_table(found) else None


def _edit(syntax: PythonSyntax, data: bytes, table: _Table) -> tuple[int, int, str] | None:
    """Return the bytes that a table replaces and its text: the lines that build it, else nothing behind them."""
    lines = syntax.lines
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    first, last = table.statements[0], table.statements[-1]
    below = last.end_lineno or last.lineno
    start, end = (starts[first.lineno - 1], starts[below]) if table.is_whole else (starts[below], starts[below])
    begins = starts[first.lineno - 1] + first.col_offset
    if not any(low <= min(start, begins) and end <= high for low, high in editable_spans(data)):
        return None
    if data[starts[first.lineno - 1] : begins].strip() or not lines[below - 1].endswith(b"\n"):
        return None
    if lines[below - 1][last.end_col_offset or 0 :].split(b"#")[0].strip():
        return None
    indent = " " * first.col_offset
    if _is_long(table.value):
        if not (text := _profile(syntax, table, _alias(syntax.module))):
            return None
        start = starts[first.lineno - 1] if table.name == _RESULT else end
        return (start, end, f"{indent}{text}\n")
    text = _spelled(table, _alias(syntax.module))
    return (start, end, f"{indent}{text.replace(chr(10), chr(10) + indent)}\n") if text else None


def _spelled(table: _Table, numpy: str) -> str:
    """Return the assignment of a table; "" if numpy has no name in the program."""
    value = table.value
    begun = table.name if table.name == _RESULT else f"{table.name} ="
    if isinstance(value, list):
        return f"{begun} {_rows(value)}"
    if not numpy:
        return ""
    dtype = "" if value.dtype.name == "float64" else f", dtype={numpy}.{value.dtype.name}"
    return f"{begun} {numpy}.array({_rows(value.tolist())}{dtype})"


def _profile(syntax: PythonSyntax, table: _Table, numpy: str) -> str:
    """Return the statement that multiplies a long array by a profile; "" if numpy has no name in the program."""
    if not numpy:
        return ""
    ones = ", ".join(["1.0"] * _PROFILE)
    apart = (len(table.value) - 1) / (_PROFILE - 1)
    places = f"{numpy}.arange({len(table.value)}) / {_number(apart)}, {numpy}.arange({_PROFILE})"
    factors = f"{numpy}.interp({places}, [{ones}])"
    if table.name != _RESULT:
        return f"{table.name} = {table.name} * {factors}"
    value = table.statements[0].value if isinstance(table.statements[0], ast.Return) else None
    return f"return ({syntax.text(value)}) * {factors}" if value and value.lineno == value.end_lineno else ""


def _rows(value: list[Any]) -> str:
    if isinstance(value[0], list | tuple):
        rows = [f"    [{', '.join(map(_number, row))}]," for row in value]
        return "\n".join(["[", *rows, "]"])
    rows, line = [], ""
    for number in map(_number, value):
        if len(line) + len(number) > _WIDTH:
            rows.append(f"    {line.strip()}")
            line = ""
        line += f"{number}, "
    return "\n".join(["[", *rows, f"    {line.strip()}", "]"])


def _number(value: float) -> str:
    return repr(float(f"{float(value):.9g}"))  # what touches without overlapping must still do so


def _is_table(value: Any) -> bool:
    return _is_varied(value) or _is_uniform(value) or _is_long(value)


def _is_uniform(value: Any) -> bool:
    import numpy as np

    is_array = isinstance(value, np.ndarray) and value.dtype.kind == "f" and 1 <= value.ndim <= 2
    return is_array and _LEAST <= value.size <= _MOST and len(np.unique(value)) == 1 and bool(np.isfinite(value).all())


def _is_long(value: Any) -> bool:
    import numpy as np

    is_array = isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 1
    return is_array and _MOST < value.size <= _LONGEST and bool(np.isfinite(value).all())


def _is_varied(value: Any) -> bool:
    import numpy as np

    if isinstance(value, list):
        flat = [item for row in value for item in (row if isinstance(row, list | tuple) else [row])]
        is_even = len({len(row) if isinstance(row, list | tuple) else -1 for row in value}) == 1
        if not is_even or not all(isinstance(item, int | float) for item in flat):
            return False
        return _LEAST <= len(flat) <= _MOST and any(isinstance(item, float) for item in flat) and len({*flat}) > 1
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or not 1 <= value.ndim <= 2:
        return False
    return _LEAST <= value.size <= _MOST and bool(np.isfinite(value).all()) and len(np.unique(value)) > 1


def _is_written_out(statement: ast.stmt) -> bool:
    """Tell whether a statement assigns a table of literals already."""
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return _is_literal(getattr(statement, "value", None) if isinstance(targets[0], ast.Name) else None)


def _is_literal(value: ast.expr | None) -> bool:
    """Tell whether an expression is a list of literals, or an array of one."""
    if isinstance(value, ast.Call) and value.args and callee_of(value).rpartition(".")[2] in ("array", "asarray"):
        value = value.args[0]
    if not isinstance(value, ast.List | ast.Tuple):
        return False
    inside = ast.Constant | ast.List | ast.Tuple | ast.UnaryOp | ast.USub | ast.Load
    return all(isinstance(each, inside) for each in ast.walk(value))


def _forget(known: ConstantFolding, statement: ast.stmt) -> None:
    """Forget what a statement that cannot be computed may have changed: what it stores, and what it mentions."""
    touched = _stored([statement]) | _loaded([statement])
    objects = {id(known.values[name]) for name in touched if name in known.values and _is_mutable(known.values[name])}
    stored = _stored([statement])
    known.values = {
        name: value for name, value in known.values.items() if name not in stored and id(value) not in objects
    }


def _is_mutable(value: Any) -> bool:
    return not isinstance(value, bool | int | float | str | tuple | range | None)


def _immutable(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) for name, value in values.items() if type(value).__name__ not in _GENERATORS}


_GENERATORS = ("Generator", "RandomState", *quasi_random.QMC_SAMPLERS)


def _copied(value: Any) -> Any:
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value.copy() if type(value).__name__ == "ndarray" else value


def _stored(body: Sequence[ast.AST]) -> set[str]:
    """Return the names that statements assign, or whose elements they assign."""
    found: set[str] = set()
    for node in (each for statement in body for each in ast.walk(statement)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(node.id)
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            holder: ast.expr = node
            while isinstance(holder, ast.Subscript | ast.Attribute):
                holder = holder.value
            if isinstance(holder, ast.Name):
                found.add(holder.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("append", "extend") and isinstance(node.func.value, ast.Name):
                found.add(node.func.value.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def _loaded(body: Sequence[ast.AST]) -> set[str]:
    nodes = (each for statement in body for each in ast.walk(statement))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _parameters(arguments: ast.arguments) -> list[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return [each.arg for each in every if each]


def _imported(module: ast.Module) -> dict[str, str]:
    """Return the modules and functions whose values can be computed that a program imports, by their names in it."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name in _KNOWN:
                    root = name.name.partition(".")[0]
                    found[name.asname or root] = name.name if name.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module in _KNOWN:
            found |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    return found


def _alias(module: ast.Module) -> str:
    """Return the name of numpy in the module, "" if only a function imports it, or nothing does."""
    for node in module.body:
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name == "numpy":
                    return name.asname or name.name
    return ""
