"""What a few lines of numpy compute, without running them: an evaluator of a small, harmless part of Python.

It knows numbers, lists, arrays, loops over `range`, arithmetic, and named functions of `math`, `numpy` and `scipy`,
each with a limit of size and of work. Attributes, calls and statements that are not listed here raise `NotConstant`.
Nothing of the program is executed: an agent may read programs of strangers with it. Functions of the program itself,
files, imports at run time, and draws without a seed are not known.
"""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from time import monotonic
from typing import Any

from agents.search.structure import quasi_random

MAX_FOLDED = 20_000
"""Most items of a list or an array on the way."""

MAX_WORK = 400_000
"""Most steps; an operation on an array counts one step for every ten items."""

MAX_S = 1.0
"""Most seconds."""

_WHOLE = 2**53


class NotConstant(Exception):
    """An expression or a statement is not one that can be computed here."""


class Returned(NotConstant):
    """A `return` was reached, with its `value`."""

    def __init__(self, value: Any) -> None:
        super().__init__("return")
        self.value = value


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MATH = _names(
    "sin cos tan asin acos atan atan2 sinh cosh tanh sqrt exp log log2 log10 floor ceil radians degrees hypot fabs"
)
_BUILTINS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "bool": bool,
    "enumerate": lambda items, start=0: list(enumerate(_sequence(items), start)),
    "float": float,
    "int": int,
    "len": len,
    "list": lambda items=(): list(_sequence(items)),
    "max": max,
    "min": min,
    "range": lambda *ends: _range(*ends),
    "reversed": lambda items: list(reversed(_sequence(items))),
    "round": round,
    "sorted": lambda items: sorted(_sequence(items)),
    "sum": sum,
    "tuple": lambda items=(): tuple(_sequence(items)),
    "zip": lambda *lists: list(zip(*map(_sequence, lists), strict=False)),
}
_NUMPY = _names(
    """
    abs arccos arcsin arctan arctan2 arange array asarray ceil clip column_stack concatenate copy cos cosh cumsum
    deg2rad degrees diff dot exp eye flip float32 float64 floor full full_like hstack identity linspace log log10 log2
    logspace max maximum mean meshgrid min minimum mod ones ones_like power rad2deg radians ravel repeat reshape roll
    round sign sin sinh sort sqrt square stack std sum tan tanh tile transpose vstack where zeros zeros_like
    """
)
_NUMPY_RANDOM = _names("seed rand randn random uniform normal")
_DRAWS = _names("dirichlet random uniform normal standard_normal rand randn")
_ARRAY_METHODS = _names("astype clip copy cumsum dot flatten max mean min ravel reshape round std sum tolist transpose")
_PACKAGES = ("numpy.random", *quasi_random.QMC_PACKAGES)
_ARRAY_FIELDS = _names("T ndim shape size")
_GROWING = _names("arange eye full identity linspace logspace meshgrid ones repeat tile zeros rand randn")

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.MatMult: operator.matmul,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class ConstantFolding:
    """Computes statements one after the other; `values` are the names that are known so far.

    `modules` are the names of imported modules in the program: `{"np": "numpy", "math": "math", "pi": "math.pi"}`.
    """

    def __init__(self, modules: Mapping[str, str], values: Mapping[str, Any] | None = None) -> None:
        import numpy as np

        self._np, self._modules = np, modules
        self.values: dict[str, Any] = dict(values or {})
        self._random: Any = None
        self._left, self._until = MAX_WORK, monotonic() + MAX_S

    def run(self, statement: ast.stmt) -> None:
        """Compute one statement.

        Raises:
            NotConstant: It cannot be computed here; what it stores is then unknown.
            Returned: It returns from the function.
        """
        try:
            with self._np.errstate(all="raise"):
                self._run(statement)
        except NotConstant:
            raise
        except Exception as error:  # the program is a stranger's: whatever its arithmetic raises, it is not constant
            raise NotConstant(type(error).__name__) from None

    def _run(self, statement: ast.stmt) -> None:
        self._spend(1)
        match statement:
            case ast.Assign(targets=targets, value=value):
                found = self._value(value)
                for target in targets:
                    self._store(target, found)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._store(target, self._value(value))
            case ast.AugAssign(target=target, op=op, value=value):
                self._store(target, self._binary(op, self._loaded(target), self._value(value)))
            case ast.For(target=target, iter=items, body=body, orelse=[]):
                for item in _sequence(self._value(items)):
                    self._store(target, item)
                    for each in body:
                        self._run(each)
            case ast.If(test=test, body=body, orelse=otherwise):
                for each in body if self._value(test) else otherwise:
                    self._run(each)
            case ast.Expr(value=ast.Call() as call):
                self._value(call)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Return(value=ast.expr() as value):
                raise Returned(self._value(value))
            case _:
                raise NotConstant(type(statement).__name__)

    def _spend(self, work: float) -> None:
        self._left -= int(work)
        if self._left < 0 or monotonic() > self._until:
            raise NotConstant("too much work")

    def _store(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self.values[name] = value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                items = _sequence(value)
                if len(items) != len(parts) or any(isinstance(part, ast.Starred) for part in parts):
                    raise NotConstant("unpacking")
                for part, item in zip(parts, items, strict=True):
                    self._store(part, item)
            case ast.Subscript(value=ast.Name() as holder, slice=at):
                self._value(holder)[self._index(at)] = value
            case _:
                raise NotConstant("target")

    def _loaded(self, target: ast.expr) -> Any:
        match target:
            case ast.Name(id=name):
                return self._known(name)
            case ast.Subscript(value=holder, slice=at):
                return self._value(holder)[self._index(at)]
        raise NotConstant("target")

    def _known(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        if self._modules.get(name) in ("math.pi", "numpy.pi"):
            return math.pi
        raise NotConstant(name)

    def _index(self, node: ast.expr) -> Any:
        match node:
            case ast.Slice(lower=lower, upper=upper, step=step):
                return slice(*(self._value(end) if end else None for end in (lower, upper, step)))
            case ast.Tuple(elts=parts):
                return tuple(self._index(part) for part in parts)
        return self._value(node)

    def _value(self, node: ast.expr) -> Any:
        found = self._computed(node)
        size = getattr(found, "size", None) if isinstance(found, self._np.ndarray) else None
        size = len(found) if size is None and isinstance(found, list | tuple | range) else size or 0
        if size > MAX_FOLDED:
            raise NotConstant("too large")
        self._spend(1 + size / 10)
        return found

    def _computed(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.Name(id=name):
                return self._known(name)
            case ast.List(elts=parts):
                return [self._value(part) for part in parts]
            case ast.Tuple(elts=parts):
                return tuple(self._value(part) for part in parts)
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
                return _UNARY[type(op)](self._value(operand))
            case ast.BinOp(left=left, op=op, right=right):
                return self._binary(op, self._value(left), self._value(right))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
                return _COMPARE[type(op)](self._value(left), self._value(right))
            case ast.BoolOp(op=op, values=parts):
                return (all if isinstance(op, ast.And) else any)(self._value(part) for part in parts)
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                return self._value(body if self._value(test) else otherwise)
            case ast.Subscript(value=holder, slice=at):
                return self._value(holder)[self._index(at)]
            case ast.ListComp(elt=element, generators=loops) | ast.GeneratorExp(elt=element, generators=loops):
                return list(self._comprehended(element, loops))
            case ast.Attribute(value=holder, attr=name):
                return self._field(holder, name)
            case ast.Call():
                return self._called(node)
        raise NotConstant(type(node).__name__)

    def _comprehended(self, element: ast.expr, loops: list[ast.comprehension]) -> Iterator[Any]:
        if not loops:
            yield self._value(element)
            return
        first, *rest = loops
        outer = dict(self.values)
        for item in _sequence(self._value(first.iter)):
            self._store(first.target, item)
            if all(self._value(test) for test in first.ifs):
                yield from self._comprehended(element, rest)
        self.values = outer

    def _binary(self, op: ast.operator, left: Any, right: Any) -> Any:
        np = self._np
        if type(op) not in _BINARY:
            raise NotConstant(type(op).__name__)
        if isinstance(op, ast.MatMult):
            if np.ndim(left) > 2 or np.ndim(right) > 2 or np.size(left) * np.size(right) > MAX_FOLDED:
                raise NotConstant("too large")
        elif isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
            shape = np.broadcast_shapes(np.shape(left), np.shape(right))
            if math.prod(shape) > MAX_FOLDED:
                raise NotConstant("too large")
        elif isinstance(left, list | tuple) or isinstance(right, list | tuple):
            count = left if isinstance(left, int) else right
            items = left if isinstance(left, list | tuple) else right
            if isinstance(op, ast.Mult) and not (isinstance(count, int) and len(items) * count <= MAX_FOLDED):
                raise NotConstant("too large")
        elif not (_is_number(left) and _is_number(right)):
            raise NotConstant("operands")
        elif isinstance(op, ast.Pow) and isinstance(left, int) and not (-64 <= right <= 64 and abs(left) < _WHOLE):
            raise NotConstant("too large")
        return _BINARY[type(op)](left, right)

    def _field(self, holder: ast.expr, name: str) -> Any:
        path = self._path(holder)
        if path in ("math", "numpy") and name in ("pi", "e", "tau"):
            return getattr(math, name)
        if path == "numpy" and name in ("float64", "float32"):
            return getattr(self._np, name)
        value = self._value(holder)
        if isinstance(value, self._np.ndarray) and name in _ARRAY_FIELDS:
            return getattr(value, name)
        raise NotConstant(name)

    def _path(self, node: ast.expr) -> str:
        """Return the module that an expression names, such as `numpy.random`; "" if it names none."""
        match node:
            case ast.Name(id=name) if name not in self.values:
                return self._modules.get(name, "")
            case ast.Attribute(value=holder, attr=name) if (path := f"{self._path(holder)}.{name}") in _PACKAGES:
                return path
        return ""

    def _called(self, node: ast.Call) -> Any:
        args = [self._value(each) for each in node.args if not isinstance(each, ast.Starred)]
        words = {each.arg: self._value(each.value) for each in node.keywords if each.arg}
        if len(args) != len(node.args) or len(words) != len(node.keywords) or "out" in words:
            raise NotConstant("arguments")
        match node.func:
            case ast.Name(id=name) if name not in self.values and name in self._modules:
                module, _, function = self._modules[name].rpartition(".")
                return self._library(module, function, args, words)
            case ast.Name(id=name) if name in _BUILTINS and name not in self.values:
                return _BUILTINS[name](*args, **words)
            case ast.Attribute(value=holder, attr=name) if path := self._path(holder):
                return self._library(path, name, args, words)
            case ast.Attribute(value=holder, attr=name):
                return self._method(self._value(holder), name, args, words)
        raise NotConstant("call")

    def _library(self, module: str, name: str, args: list[Any], words: dict[str, Any]) -> Any:
        np = self._np
        if module == "math" and name in _MATH:
            return getattr(math, name)(*args, **words)
        if module == "numpy.random":
            return self._drawn(name, args, words)
        if module == quasi_random.MODULE:
            began, found = monotonic(), quasi_random.sampler_of(name, args, words)
            self._until += monotonic() - began  # the import takes longer than all else
            return found
        if module != "numpy" or name not in _NUMPY or isinstance(words.get("dtype"), str):
            raise NotConstant(f"{module}.{name}")
        if name in _GROWING:
            self._check_size(name, args, words)
        return getattr(np, name)(*args, **words)

    def _drawn(self, name: str, args: list[Any], words: dict[str, Any]) -> Any:
        np = self._np
        if name in ("default_rng", "RandomState", "seed"):
            seeds = [*args, *words.values()]
            if len(seeds) != 1 or type(seeds[0]) is not int:
                raise NotConstant("without a seed")
            if name == "default_rng":
                return np.random.default_rng(seeds[0])
            made = np.random.RandomState(seeds[0])
            self._random = made if name == "seed" else self._random
            return made
        if self._random is None or name not in _NUMPY_RANDOM:
            raise NotConstant("without a seed")
        return self._draw(self._random, name, args, words)

    def _draw(self, source: Any, name: str, args: list[Any], words: dict[str, Any]) -> Any:
        numbers = [*args, *words.values()]
        flat = [item for number in numbers for item in self._np.ravel(number).tolist()]
        counts = [item for item in flat if isinstance(item, int)]
        if not all(map(_is_number, flat)) or math.prod(max(1, abs(count)) for count in counts) > MAX_FOLDED:
            raise NotConstant("too large")
        return getattr(source, name)(*args, **words)

    def _check_size(self, name: str, args: list[Any], words: dict[str, Any]) -> None:
        """Refuse what would be too large before it is made."""
        np = self._np
        total = 1.0
        for each in [*args, *words.values()]:
            for item in each if isinstance(each, list | tuple) else [each]:
                if isinstance(item, np.ndarray):
                    total *= max(1, item.size)
                elif _is_number(item) and (name != "linspace" or isinstance(item, int)):
                    total *= max(1.0, abs(item))
        if name == "arange":
            start, stop, step = (*((0, *args) if len(args) == 1 else args), 1)[:3]
            total = abs((stop - start) / step)
        if name in ("full", "linspace", "logspace"):
            wanted = args[0] if name == "full" else words.get("num", args[2] if len(args) > 2 else 50)
            total = math.prod(wanted) if isinstance(wanted, list | tuple) else wanted
        if not total <= MAX_FOLDED:
            raise NotConstant("too large")

    def _method(self, value: Any, name: str, args: list[Any], words: dict[str, Any]) -> Any:
        np = self._np
        is_known = name in _ARRAY_METHODS and not any(isinstance(arg, str) for arg in args)
        if isinstance(value, np.ndarray) and is_known:
            return getattr(value, name)(*args, **words)
        if isinstance(value, list) and name in ("append", "extend", "copy") and len(value) < MAX_FOLDED:
            return getattr(value, name)(*args)
        if isinstance(value, np.random.Generator | np.random.RandomState) and name in _DRAWS:
            return self._draw(value, name, args, words)
        if quasi_random.is_sampler(value):
            return quasi_random.next_points(value, name, args, words)
        raise NotConstant(name)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _range(*ends: Any) -> range:
    found = range(*(operator.index(end) for end in ends))
    if len(found) > MAX_FOLDED:
        raise NotConstant("too large")
    return found


def _sequence(items: Any) -> Any:
    """Return something with a length that is walked through: a list, a tuple, a range, an array."""
    if isinstance(items, list | tuple | range) or type(items).__name__ == "ndarray":
        return items
    raise NotConstant("loop")
