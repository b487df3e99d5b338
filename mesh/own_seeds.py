"""The seeds that a Python program gives itself: `np.random.seed(42)`, `default_rng(0)`, `SEED = 1337`.

A program with a seed of its own is one draw: its gain may be the luck of that seed. So proof runs it with other seeds:
a worker replaces them in the copy that it runs, by numbers that follow from the seed of the run. Champion and
challenger get the same numbers. Search, and what is shown of a proposal, keeps the program's own.
"""

import ast
import re
from collections.abc import Mapping, Sequence

from mesh.editable_regions import editable_spans
from mesh.python_syntax import NO_PYTHON, PythonSyntax, callee_of, last_name

_SEEDER = re.compile(
    r"((numpy|np|cp|mx|tf|tensorflow|jax)\.)?(random\.)?(seed|default_rng|RandomState|SeedSequence|PRNGKey|set_seed"
    r"|PCG64(DXSM)?|MT19937|Philox|SFC64)"
    r"|random\.Random|(jax\.)?random\.key|(torch\.)?(cuda\.)?manual_seed(_all)?|seed_everything"
)
_NAMES = frozenset(("seed", "random_seed", "random_state", "rng", "rng_seed", "np_seed", "torch_seed", "global_seed"))
_MOST = 2**31 - 1


def with_other_seeds(files: Mapping[str, bytes], editable: Sequence[str], seed: int) -> tuple[dict[str, bytes], int]:
    """Return the files with the programs' own seeds replaced, and how many were.

    Equal seeds stay equal, and different ones different. Only literals in the editable part of Python files count.

    Args:
        files: Contents by path.
        editable: The paths of the files that may be edited.
        seed: The seed of the run.
    """
    changed, count = dict(files), 0
    for name in editable:
        if not name.endswith(".py") or name not in files:
            continue
        found = _own_seeds(files[name])
        data = files[name]
        for start, end, value in sorted(found, reverse=True):
            data = data[:start] + str((value + seed) % _MOST).encode() + data[end:]
        changed[name] = data
        count += len(found)
    return changed, count


def _own_seeds(data: bytes) -> set[tuple[int, int, int]]:
    """Return the first byte, the byte after the last one, and the value of each seed of a Python file."""
    try:
        syntax = PythonSyntax(data.decode())
    except (*NO_PYTHON, UnicodeDecodeError):
        return set()
    spans = editable_spans(data)
    found = set()
    for node in (literal for each in syntax.nodes for literal in _seeds_at(each)):
        start, end = syntax.span(node)
        assert isinstance(node.value, int)
        if any(low <= start and end <= high for low, high in spans):
            found.add((start, end, node.value))
    return found


def _seeds_at(node: ast.AST) -> list[ast.Constant]:
    """Return the literals that a node makes seeds: an argument, a keyword, an assigned name, a default."""
    values: list[ast.expr | None] = []
    match node:
        case ast.Call() if _SEEDER.fullmatch(callee_of(node)):
            values = [*node.args[:1]]
        case ast.keyword(arg=str(name)) if name.lower() in _NAMES:
            values = [node.value]
        case ast.Assign(targets=[target]) if last_name(target).lower() in _NAMES:
            values = [node.value]
        case ast.AnnAssign() if last_name(node.target).lower() in _NAMES:
            values = [node.value]
        case ast.arguments():
            positional = [*node.posonlyargs, *node.args]
            pairs = [*zip(positional[::-1], node.defaults[::-1], strict=False)]
            named = [*pairs, *zip(node.kwonlyargs, node.kw_defaults, strict=True)]
            values = [default for parameter, default in named if parameter.arg.lower() in _NAMES]
    return [each for each in values if isinstance(each, ast.Constant) and type(each.value) is int]
