"""Bounds of the fields of facts: every number, text, list and hash has one, so that every reader can hold every fact.

A reader does not understand a fact that is out of its bounds: it keeps the raw bytes and goes on. A writer is refused.
Readers may rely on these bounds: an integer fits 64 bits, and sums and squares of numbers stay finite.
"""

import math
import re
from typing import Annotated, Any

from msgspec import Meta

MAX_INTEGER = 2**63 - 1
MAX_NUMBER = 1e100
"""Greatest absolute value of a number: its square is still finite, and so is the sum of many squares."""
MAX_SECONDS = 1e9
"""Longest time limit in seconds, some 30 years."""
MAX_USD, MAX_USD_PER_HOUR = 1e9, 1e6
"""Most dollars of a grant, and of a machine in an hour: more is a typing error, and a grant is never taken back."""
MAX_ATTEMPT = 1_000_000
MAX_VERSION = 2**53
MAX_TEXT = 256 * 1024
MAX_ITEMS = 10_000

Integer = Annotated[int, Meta(ge=-(2**63), le=MAX_INTEGER)]
Count = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Quantity = Annotated[int, Meta(ge=0, le=10**12)]
"""A number of tokens or megabytes; the sum over millions of facts fits 64 bits."""
Number = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
Amount = Annotated[float, Meta(ge=0, le=MAX_NUMBER)]
"""A number of things, seconds, megabytes or dollars."""
Probability = Annotated[float, Meta(ge=0, le=1)]
TimeLimit = Annotated[float, Meta(gt=0, le=MAX_SECONDS)]
"""Seconds that something may take."""

PATTERNS = {
    r"\A[0-9a-f]{40}\Z": "of 40 hex digits in lower case",
    r"\A(?:[0-9a-f]{40})?\Z": "of 0 or 40 hex digits in lower case",
    r"\A(?:[0-9a-f]{64})?\Z": "of 0 or 64 hex digits in lower case",
    r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})?\Z": "of 0, 40 or 64 hex digits in lower case",
    r"\A[0-9a-f]{64}\Z": "of 64 hex digits in lower case",
}
"""The patterns of texts, and how a sentence says them."""

_GIT, _OPTIONAL_GIT, _OPTIONAL_SHA256, _CONTENT, _SHA256 = PATTERNS
MAX_KEY = 128
KeyText = Annotated[str, Meta(min_length=1, max_length=MAX_KEY)]
"""A part of the key: `mesh.wire` checks that it can be one token of a subject, which is cheaper than a pattern here."""
Word = Annotated[str, Meta(max_length=256)]
"""A name: of a role, a model, a machine, a channel."""
Path = Annotated[str, Meta(max_length=4096)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]

GitHash = Annotated[str, Meta(pattern=_GIT)]
"""Name of a commit, as git computes it."""
Tree = GitHash
"""Id of a proposal: the tree hash of its files, as git computes it."""
OptionalTree = Annotated[str, Meta(pattern=_OPTIONAL_GIT)]
"""Id of a proposal; "" if there is none."""
Sha256 = Annotated[str, Meta(pattern=_SHA256)]
OptionalSha256 = Annotated[str, Meta(pattern=_OPTIONAL_SHA256)]
ContentHash = Annotated[str, Meta(pattern=_CONTENT)]
"""Hash of files: a sha256, or in old logs a tree; "" if it is not known."""

Trees = Annotated[tuple[Tree, ...], Meta(max_length=MAX_ITEMS)]
Seeds = Annotated[tuple[Integer, ...], Meta(max_length=MAX_ITEMS)]
Version = Annotated[int, Meta(ge=1, le=MAX_VERSION)]
Race = Annotated[int, Meta(ge=0, le=MAX_VERSION)]
Attempt = Annotated[int, Meta(ge=0, le=MAX_ATTEMPT)]
Slots = Annotated[int, Meta(ge=1, le=10_000)]

Scalar = bool | Integer | Number | Text


def pattern_in_words(message: str) -> str:
    """Return an error of msgspec with its pattern said in words: ``Expected `str` of 40 hex digits in lower case``."""
    found = re.search(r"matching regex '(.*)'(?= - at |$)", message)
    if found and (words := PATTERNS.get(found[1].replace("\\\\", "\\"))):
        return message.replace(found[0], words)
    return message


def not_finite(value: Any, path: str) -> str:
    """Return path and value of the first number in JSON's types that is not finite, "" if all are.

    JSON would turn such a number into null.
    """
    match value:
        case float():
            return "" if math.isfinite(value) else f"{path} is {value}"
        case dict():
            inner = [(f"{path}.{key}", each) for key, each in value.items()]
        case list() | tuple():
            inner = [(f"{path}[{number}]", each) for number, each in enumerate(value)]
        case _:
            return ""
    return next((found for at, each in inner if (found := not_finite(each, at))), "")
