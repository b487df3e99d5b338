"""The words that a string of a Python source could be: the set that a call knows, an annotation or a comment lists.

A string of which nothing lists the other words is not a knob.
"""

import ast
import re
from collections.abc import Sequence

from mesh.python_names import literal_role
from mesh.python_syntax import Function, PythonSyntax, callee_of, dotted, last_name
from mesh.python_word_lists import WordList

_PAD = ("reflect", "edge", "symmetric", "wrap", "constant")
_MINIMIZE = ("Nelder-Mead", "Powell", "CG", "BFGS", "L-BFGS-B", "TNC", "COBYLA", "SLSQP", "trust-constr")
_BORDER = ("reflect", "constant", "nearest", "mirror", "wrap")
_PARSERS = ("html.parser", "lxml", "html5lib")
_KNOWN: dict[str, dict[str, tuple[str, ...]]] = {
    "pad": {"mode": _PAD},
    "minimize": {"method": _MINIMIZE},
    "basinhopping": {"method": _MINIMIZE},
    "minimize_scalar": {"method": ("brent", "bounded", "golden")},
    "root": {"method": ("hybr", "lm", "broyden1", "broyden2", "anderson", "krylov", "df-sane")},
    "linprog": {"method": ("highs", "highs-ds", "highs-ipm")},
    "least_squares": {
        "method": ("trf", "dogbox", "lm"),
        "loss": ("linear", "soft_l1", "huber", "cauchy", "arctan"),
    },
    "curve_fit": {"method": ("lm", "trf", "dogbox")},
    "differential_evolution": {
        "strategy": ("best1bin", "best1exp", "rand1bin", "rand1exp", "currenttobest1bin", "best2bin", "rand2bin"),
        "init": ("latinhypercube", "sobol", "halton", "random"),
    },
    "solve_ivp": {"method": ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")},
    "convolve": {"mode": ("full", "same", "valid")},
    "correlate": {"mode": ("full", "same", "valid")},
    "interp1d": {"kind": ("linear", "nearest", "quadratic", "cubic")},
    "griddata": {"method": ("linear", "nearest", "cubic")},
    "map_coordinates": {"mode": _BORDER},
    "gaussian_filter": {"mode": _BORDER},
    "gaussian_filter1d": {"mode": _BORDER},
    "uniform_filter": {"mode": _BORDER},
    "uniform_filter1d": {"mode": _BORDER},
    "median_filter": {"mode": _BORDER},
    "savgol_filter": {"mode": ("interp", "mirror", "constant", "nearest", "wrap")},
    "sort": {"kind": ("quicksort", "mergesort", "heapsort", "stable")},
    "argsort": {"kind": ("quicksort", "mergesort", "heapsort", "stable")},
    "gelu": {"approximate": ("none", "tanh")},
    "GELU": {"approximate": ("none", "tanh")},
    "BeautifulSoup": {"features": _PARSERS},
}
"""Sets of words by the called function and its parameter."""

_UNMISTAKABLE: tuple[tuple[str, ...], ...] = (_MINIMIZE[:1] + _MINIMIZE[4:], _PARSERS)
"""Sets whose words mean the same wherever they stand."""

_NOT_TURNED = (
    frozenset(
        ("train", "training", "val", "valid", "validation", "test", "testing", "eval", "evaluation", "dev", "holdout")
    ),
    frozenset(("cpu", "cuda", "gpu", "tpu", "mps")),
    frozenset(("r", "w", "rb", "wb", "rt", "wt")),
)
"""Words that are no choice of a method: parts of the data (to train on the test would be a cheat), devices, and modes
of files. Two of one kind in a list say that it is such a list."""

_POSITIONAL = {"pad": (2, "mode"), "BeautifulSoup": (1, "features"), "convolve": (2, "mode")}
"""The place of a parameter among the positional arguments."""

_DTYPES = ("float64", "float32")
_MODULES = ("np", "numpy", "jnp", "torch", "tf", "mx", "cp", "cupy")


def known_words(syntax: PythonSyntax, node: ast.Constant, lists: Sequence[WordList] = ()) -> tuple[str, ...]:
    """Return the words that a string could be, itself among them; () if they are not known.

    Args:
        syntax: The source.
        node: The string.
        lists: The lists of words of the source, by the names of what they are for.
    """
    text = str(node.value)
    parent = syntax.parents.get(node)
    if isinstance(parent, ast.Compare | ast.Subscript | ast.JoinedStr | ast.Expr):
        return ()
    nearest = (_of_call(syntax, node), _of_annotation(syntax, node), *_UNMISTAKABLE, *_of_comments(syntax, node, lists))
    for words in (*nearest, *_under_its_name(syntax, node, lists)):
        if text in words and len(set(words)) > 1:
            is_fixed = any(len(kind.intersection(map(str.lower, words))) > 1 for kind in _NOT_TURNED)
            return () if is_fixed else tuple(dict.fromkeys(words))
    return ()


def dtypes_of(syntax: PythonSyntax, node: ast.Attribute) -> tuple[str, ...]:
    """Return the number types that `np.float64` could be, () if it is not such a type or only compared with one."""
    if node.attr not in _DTYPES or dotted(node.value) not in _MODULES:
        return ()
    return () if isinstance(syntax.parents.get(node), ast.Compare | ast.Attribute) else _DTYPES


def _of_call(syntax: PythonSyntax, node: ast.Constant) -> tuple[str, ...]:
    parent = syntax.parents.get(node)
    if isinstance(parent, ast.keyword):
        call = syntax.parents.get(parent)
        if parent.arg == "default" and isinstance(call, ast.Call):
            return _listed(next((each.value for each in call.keywords if each.arg == "choices"), None))
        if parent.arg == "dtype":
            return _DTYPES
        return _KNOWN.get(callee_of(call).rpartition(".")[2], {}).get(parent.arg or "", ()) if call else ()
    if isinstance(parent, ast.Call) and node in parent.args:
        name = callee_of(parent).rpartition(".")[2]
        if name == "astype":
            return _DTYPES
        at, parameter = _POSITIONAL.get(name, (-1, ""))
        return _KNOWN[name][parameter] if parent.args.index(node) == at else ()
    return ()


def _of_annotation(syntax: PythonSyntax, node: ast.Constant) -> tuple[str, ...]:
    """Return the words of `mode: Literal["a", "b"] = "a"`."""
    parent = syntax.parents.get(node)
    annotation: ast.expr | None = None
    if isinstance(parent, ast.AnnAssign):
        annotation = parent.annotation if parent.value is node else None
    elif isinstance(parent, ast.arguments):
        positional = [*parent.posonlyargs, *parent.args]
        pairs = [*zip(positional[::-1], parent.defaults[::-1], strict=False)]
        pairs += [(arg, value) for arg, value in zip(parent.kwonlyargs, parent.kw_defaults, strict=True) if value]
        annotation = next((arg.annotation for arg, value in pairs if value is node), None)
    if isinstance(annotation, ast.Subscript) and last_name(annotation.value) == "Literal":
        return _listed(annotation.slice)
    return ()


def _listed(node: ast.expr | None) -> tuple[str, ...]:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []
    return tuple(each.value for each in elements if isinstance(each, ast.Constant) and isinstance(each.value, str))


def _under_its_name(syntax: PythonSyntax, node: ast.Constant, lists: Sequence[WordList]) -> list[tuple[str, ...]]:
    """Return the lists of words for what a string sets: a parameter, a field, a key or an option; the nearest first."""
    match syntax.parents.get(node):
        case ast.Dict() as parent if node in parent.keys:
            return []
        case ast.Dict():
            sources = {"remark", "list"}
        case ast.keyword() | ast.arguments() | ast.AnnAssign():
            sources = {"remark", "list", "comparison"}
        case ast.Assign() as parent if isinstance(syntax.parents.get(parent), ast.Module):
            sources = {"remark", "list", "comparison"}
        case _:
            sources = {"remark"}
    name = literal_role(syntax, node).lower()
    found = [each for each in lists if each.name == name and each.source in sources]
    function = next((each for each, _ in syntax.chain(node) if isinstance(each, Function)), None)
    lines = range(function.lineno, (function.end_lineno or function.lineno) + 1) if function else range(0)
    return [each.words for each in sorted(found, key=lambda each: each.line not in lines)]


def _of_comments(syntax: PythonSyntax, node: ast.Constant, lists: Sequence[WordList]) -> list[tuple[str, ...]]:
    """Return the lists of words in the comment of the line, in one that is the line above, and in the docstring."""
    above = syntax.line(node.lineno - 1).strip()
    if any(each.line == node.lineno - 1 and each.name != literal_role(syntax, node).lower() for each in lists):
        above = ""  # it says what another word could be
    comments = [syntax.rest(node).partition("#")[2], above[1:] if above.startswith("#") else ""]
    found: list[tuple[str, ...]] = []
    function = next((each for each, _ in syntax.chain(node) if isinstance(each, Function)), None)
    doc = (ast.get_docstring(function) or "") if function else ""
    brackets = re.findall(r"[(\[{](['\"][^()\[\]{}\n]*['\"])[)\]}]", doc)
    found += [tuple(re.findall(r"['\"]([\w.+-]+)['\"]", listed)) for listed in brackets]
    for comment in comments:
        quoted = re.findall(r"['\"`]([\w.+-]+)['\"`]", comment)
        bare = re.findall(r"[\w.+-]+(?:\s*[|/]\s*[\w.+-]+)+", comment)
        listed = re.findall(r"(?:one of|options?:|choices:|either)\s*:?\s*\(?([\w.+, -]+)", comment)
        is_rest = bool(re.match(r"\s*or\b", comment, re.IGNORECASE))  # the value itself is the first of them
        found += [(str(node.value), *quoted) if is_rest else tuple(quoted)]
        found += [tuple(re.split(r"\s*[|/]\s*", words)) for words in bare]
        found += [tuple(filter(None, re.split(r"\s*,\s*(?:or\s+)?|\s+or\s+", words.strip()))) for words in listed]
    return found
