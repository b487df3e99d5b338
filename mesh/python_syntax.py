"""The syntax tree of a Python source with what its literals need: parents, byte offsets, and the rest of a line."""

import ast
import threading
from collections.abc import Iterator
from itertools import accumulate

NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast` raises for a text that is not Python, or nested too deeply."""

_DEEPEST = 100
"""Most ancestors of a node that are looked at; deeper nesting is generated code."""

_ONE_AT_A_TIME = threading.Lock()

Function = ast.FunctionDef | ast.AsyncFunctionDef


def parse_python(source: str | bytes) -> ast.Module:
    """Return the syntax tree of a text, as `ast.parse`: one thread at a time.

    The interpreter counts depths for all threads together, and where it changes threads within a call, both may end
    with SystemError (CPython issue 106905).

    Raises:
        SyntaxError: The text is not Python; also ValueError, RecursionError or MemoryError (`NO_PYTHON`).
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source)


class PythonSyntax:
    """A parsed source.

    Raises:
        SyntaxError: The text is not Python; also ValueError, RecursionError or MemoryError (`NO_PYTHON`).
    """

    def __init__(self, source: str) -> None:
        self.module = parse_python(source)
        self.lines = source.encode().splitlines(keepends=True)
        self._starts = [0, *accumulate(map(len, self.lines))]
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes = list(ast.walk(self.module))
        for parent in self.nodes:
            for child in ast.iter_child_nodes(parent):
                self.parents[child] = parent

    def chain(self, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
        """Yield every ancestor, the nearest first, each with its child on the way."""
        for _ in range(_DEEPEST):
            above = self.parents.get(node)
            if above is None:
                return
            yield above, node
            node = above

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Return the first byte of a node and the byte after its last one."""
        last = node.end_lineno or node.lineno
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[last - 1] + (node.end_col_offset or 0)

    def text(self, node: ast.expr) -> str:
        """Return the source of a node on one line."""
        return self.lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()

    def rest(self, node: ast.expr) -> str:
        """Return what follows a node on its last line."""
        return self.lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :].decode().rstrip("\r\n")

    def line(self, number: int) -> str:
        """Return a line by its number, from 1; "" if there is none."""
        return self.lines[number - 1].decode() if 1 <= number <= len(self.lines) else ""


def callee_of(node: ast.AST) -> str:
    """Return the name of the function that a call calls, such as `np.pad`; "" if it has none."""
    return dotted(node.func) if isinstance(node, ast.Call) else ""


def dotted(node: ast.AST) -> str:
    """Return a name such as `np.random.seed`; of other expressions the last attribute."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([*([node.id] if isinstance(node, ast.Name) else []), *reversed(parts)])


def last_name(node: ast.AST) -> str:
    """Return the last part of a name: `lr` of `self.lr` and of `group["lr"]`."""
    if isinstance(node, ast.Subscript):
        at = node.slice
        return at.value if isinstance(at, ast.Constant) and isinstance(at.value, str) else last_name(node.value)
    return dotted(node).rpartition(".")[2]
