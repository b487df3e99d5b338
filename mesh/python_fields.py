"""Fields of data classes whose defaults have no effect, because every call of the class gives them a value."""

import ast

from mesh.python_syntax import Function, PythonSyntax, last_name


def given_fields(syntax: PythonSyntax) -> set[ast.AnnAssign]:
    """Return the fields of data classes that every call gives.

    A class that is used in another way as well, such as as a base class, may still need its defaults.
    """
    found = set[ast.AnnAssign]()
    for node in syntax.nodes:
        if isinstance(node, ast.ClassDef) and _is_data(node) and (calls := _calls_of(syntax, node.name)):
            fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            found.update(
                field for place, field in enumerate(fields) if all(_gives(call, field, place) for call in calls)
            )
    return found


def _is_data(node: ast.ClassDef) -> bool:
    marks = [each.func if isinstance(each, ast.Call) else each for each in node.decorator_list]
    return "dataclass" in map(last_name, marks)


def _calls_of(syntax: PythonSyntax, name: str) -> list[ast.Call]:
    """Return the calls of a class; none if it is used in another way."""
    calls = list[ast.Call]()
    for node in syntax.nodes:
        if not isinstance(node, ast.Name) or node.id != name or _is_annotation(syntax, node):
            continue
        parent = syntax.parents.get(node)
        if not isinstance(parent, ast.Call) or parent.func is not node:
            return []
        calls.append(parent)
    return calls


def _is_annotation(syntax: PythonSyntax, node: ast.expr) -> bool:
    return any(
        isinstance(above, ast.arg)
        or (isinstance(above, ast.AnnAssign) and below is above.annotation)
        or (isinstance(above, Function) and below is above.returns)
        for above, below in syntax.chain(node)
    )


def _gives(call: ast.Call, field: ast.AnnAssign, place: int) -> bool:
    """Tell whether a call gives a field a value, by its name or by its place."""
    if any(keyword.arg == last_name(field.target) for keyword in call.keywords):
        return True
    return place < len(call.args) and not any(isinstance(each, ast.Starred) for each in call.args)
