"""The range of a knob: the one that its author gives, or a guess from its value.

A comment gives a range (`# mesh: 1e-4..3e-2 log`, `# mesh: choices gelu relu`, `# mesh: fixed`). So does an entry of
`[knobs] bounds`, with the same words. Guesses for literals are those that found gains in 31 public tasks: factors for
positive numbers, the logit scale for fractions, single steps for small whole numbers, and a tenth of the largest number
for the coordinates of a table.
"""

import ast
import math
import re
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from mesh.events import Scalar
from mesh.knob import MAX_WHOLE, Knob
from mesh.source_literal import SourceLiteral

_MARK = re.compile(r"(?:#|//|--|;|%|/\*|<!--)\s*mesh:\s*(.*?)\s*(?:\*/|-->)?\s*$")
"""A comment of any language that begins with `mesh:`."""
_RANGE = re.compile(r"(\S+?)\.\.([^\s,;]+)(?:[\s,;]+(log)\b)?")
_CHOICES = re.compile(r"choices\s+(.+)")
_FIXED = re.compile(r"fixed\b")
_WHOLE = re.compile(r"[-+]?[\d_]+([eE]\+?\d+)?")
_NO_LITERAL = (SyntaxError, ValueError, RecursionError, MemoryError)
_FRACTION = re.compile(r"beta|momentum|drop|ratio|prob|frac|warmup|threshold|alpha|gamma|sparsity|noise", re.IGNORECASE)
_SHARE = re.compile(r"subsample|colsample|max_samples|max_features|train_size|top_p|keep_?prob", re.IGNORECASE)
_DECAY = re.compile(r"decay|(^|[._])wd($|[#\[])|regulari|penalty|lambda|l1|l2", re.IGNORECASE)


class Given(msgspec.Struct, frozen=True):
    """What the author of a knob says about its range; `fault` is why it says nothing, "" if it does."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    is_whole: bool = False
    choices: tuple[Scalar, ...] = ()
    is_fixed: bool = False
    fault: str = ""


def comment_of(rest: str) -> str:
    """Return what a comment that begins with `mesh:` says, from the rest of a line; "" if there is none."""
    match = _MARK.search(rest)
    return match[1] if match else ""


def given_range(text: str) -> Given | None:
    """Return what a text such as `1..6`, `choices a b` or `fixed` says; None if it is none of these."""
    if _FIXED.match(text):
        return Given(is_fixed=True)
    if match := _CHOICES.match(text):
        choices = tuple(_literal(word) for word in re.split(r"[\s,]+", match[1]))
        return Given(choices=choices, fault="" if len(choices) > 1 else "give at least two choices")
    if not (match := _RANGE.match(text)):
        return None
    try:
        low, high = float(match[1]), float(match[2])
    except ValueError:
        return Given(fault="write two numbers, such as 1e-4..1e-1")
    is_whole = bool(_WHOLE.fullmatch(match[1]) and _WHOLE.fullmatch(match[2]))
    fault = ""
    if not (-MAX_WHOLE <= low <= MAX_WHOLE and -MAX_WHOLE <= high <= MAX_WHOLE):
        fault = "both ends must be finite numbers"
    elif low >= high:
        fault = f"the lower end comes first: write {match[2]}..{match[1]}" if low > high else "its ends are equal"
    elif match[3] and low <= 0:
        fault = f"a logarithmic range begins above 0: write {high / 1000:g}..{match[2]} log, or leave out log"
    return Given(low, high, bool(match[3]), is_whole, fault=fault)


def given_knob(file: str, literal: SourceLiteral, given: Given) -> Knob | None:
    """Return the knob whose range its author gives; None if it is fixed or the range says nothing."""
    value = literal.value
    knob = Knob(file=file, name=literal.name, value=value)
    if given.is_fixed or (given.choices and given.fault):
        return None
    if given.choices:
        return replace(knob, choices=given.choices)
    if isinstance(value, bool):
        return replace(knob, choices=(False, True))
    if isinstance(value, str) or not abs(value) <= MAX_WHOLE:
        return None
    if not -MAX_WHOLE <= given.low < given.high <= MAX_WHOLE:
        return None
    value = value if given.is_whole else float(value)
    return replace(knob, value=value, low=given.low, high=given.high, log=given.log and given.low > 0)


def guessed_constant(file: str, name: str, value: Scalar) -> Knob | None:
    """Return the knob of a named constant: a factor around a positive number, both values of a boolean.

    What its name calls a share does not become 1 or more: with the decay of a mean at 1 no training goes on.
    """
    if isinstance(value, bool):
        return Knob(file=file, name=name, value=value, choices=(False, True))
    if isinstance(value, str) or not 0 < value <= MAX_WHOLE:
        return None
    factor = 4.0 if isinstance(value, int) else 10.0
    low = max(1.0, value // factor) if isinstance(value, int) else value / factor
    high = min(value * factor, 1.0) if isinstance(value, float) and value < 1 else value * factor
    if isinstance(value, float) and value <= 1 and (share := _share(Knob(file=file, name=name, value=value))):
        high = min(high, share.high)
    return Knob(file=file, name=name, value=value, low=low, high=high, log=True)


def guessed_literal(file: str, literal: SourceLiteral) -> Knob | None:
    """Return the knob of any other literal, with the step that fits its value and its place."""
    value = literal.value
    knob = Knob(file=file, name=literal.name, value=value, priority=literal.priority, step="choice")
    if literal.choices:
        return replace(knob, choices=literal.choices)
    if isinstance(value, bool):
        return replace(knob, choices=(False, True))
    if isinstance(value, str) or not abs(value) <= MAX_WHOLE:
        return None
    if literal.unit:
        return _added(knob, float(value), literal.unit, 5)
    if isinstance(value, int):
        return _whole(knob, value)
    if 0.05 < value < 1:
        return _odds(knob, value)
    if 0 < value <= 1 and (share := _share(knob)):
        return share
    if value > 0:
        return replace(knob, low=_short(value / 10), high=_short(value * 10), log=True, step="factor")
    if value < 0:
        return _added(knob, value, abs(value) / 4, 8)
    if _DECAY.search(literal.name):
        return replace(knob, low=1e-4, high=0.1, log=True, step="factor")
    if _FRACTION.search(literal.name):
        return replace(knob, low=0.0, high=0.5, step="add", unit=0.05)
    return _added(knob, value, 0.1, 5)


def _share(knob: Knob) -> Knob | None:
    """Return the knob of a number up to 1 whose name calls it a share; None if its name does not."""
    value = float(knob.value)
    if value < 1 and (_FRACTION.search(knob.name) or _SHARE.search(knob.name)):
        return _odds(knob, value)
    if value == 1 and _SHARE.search(knob.name):
        return replace(knob, low=0.1, high=1.0, step="add", unit=0.1)
    return None


def _odds(knob: Knob, value: float) -> Knob:
    """Return the knob of a fraction, whose odds are moved."""
    low, high = (_short(1 / (1 + (1 - value) / value * math.exp(-move))) for move in (-3, 3))
    return replace(knob, low=low, high=high, step="logit")


def _short(end: float) -> float:
    """Return the end of a range with four digits, because it may stand in somebody's program; 1 stays out."""
    short = float(f"{end:.4g}")
    return short if (short < 1) == (end < 1) else end


def _whole(knob: Knob, value: int) -> Knob:
    if value <= 0:
        if value > -12:
            return replace(knob, low=float(value - 2), high=float(value + 2), step="one", unit=1.0)
        return replace(knob, low=float(4 * value), high=float(value // 4), step="one", unit=float(-value // 4))
    low, high = max(1, value // 4), value * 4
    return replace(knob, low=float(low), high=float(high), log=True, step="one" if value < 12 else "factor", unit=1.0)


def _added(knob: Knob, value: float, unit: float, steps: int) -> Knob:
    return replace(knob, value=value, low=value - steps * unit, high=value + steps * unit, step="add", unit=unit)


def _literal(word: str) -> Scalar:
    try:
        value = ast.literal_eval(word)
    except _NO_LITERAL:
        return word
    return value if isinstance(value, bool | int | float | str) else word


def is_guess(knob: Knob) -> bool:
    """Tell whether a range was guessed from the value, so that it may follow it."""
    return knob.step not in ("", "choice") or (
        isinstance(knob.value, int | float)
        and not knob.choices
        and msgspec.structs.replace(knob, tie=(), priority=0) == guessed_constant(knob.file, knob.name, knob.value)
    )


def faults(literals: Sequence[SourceLiteral]) -> list[tuple[SourceLiteral, str, str]]:
    """Return the literals whose comment gives a range that says nothing: the literal, the range, and why."""
    found = []
    for literal in literals:
        text = comment_of(literal.comment)
        given = given_range(text)
        if given and given.fault:
            found.append((literal, text, given.fault))
    return found
