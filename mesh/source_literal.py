"""A literal of a source file, as the modules of the languages describe it and `mesh.knobs` makes a knob of it.

A language module finds the literals of a file and spells a new value; `mesh.literals` says which module reads which
file. What a language knows about a literal (a set of words, a reason why it is not turned) goes with it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from mesh.events import Scalar

NEVER = ("judge", "seed", "message", "outside")
"""Reasons for which a literal is never a knob, whatever a comment or `[knobs]` asks for."""


class SourceLiteral(msgspec.Struct, frozen=True, kw_only=True):
    """One literal of a file.

    Attributes:
        name: where it stands, such as `WIDTH` or `train.lr`; it does not depend on any value.
        start: its first byte in the UTF-8 text of the file.
        end: the byte after its last one.
        value: what it says.
        comment: the rest of its line, in which a comment may give a range.
        is_named: whether it is the value of a constant that its author named: it comes before other literals.
        choices: the other words that it could be, itself included, if they are known.
        excluded: why it is not a knob unless a comment or `[knobs] include` asks for it; "" if it is one.
        priority: the order in which knobs are worth a trial: 0 comes first.
        unit: the natural step of a number that is not scaled by factors, such as a coordinate; 0 if it has none.
        scope: the function or section that it stands in; equal literals of one scope may be moved together.
        is_word: whether its text is a bare word, such as the `float32` of `np.float32`.
    """

    name: str
    start: int
    end: int
    value: Scalar
    comment: str = ""
    is_named: bool = True
    choices: tuple[Scalar, ...] = ()
    excluded: str = ""
    priority: int = 0
    unit: float = 0.0
    scope: str = ""
    is_word: bool = False


class Language(NamedTuple):
    """How the literals of one kind of file are read and written.

    Attributes:
        literals: returns the literals of a source in the order in which they stand; none if it cannot be read.
        spelled: returns a new value as source text, from the literal and its present text.
    """

    literals: Callable[[str], Sequence[SourceLiteral]]
    spelled: Callable[[Scalar, SourceLiteral, bytes], bytes]
