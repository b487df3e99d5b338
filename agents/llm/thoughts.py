"""Takes a model's thoughts out of its answer: what was only thought is never read as an answer. Pure.

Templates of models mark thoughts in several ways, and many open the mark themselves, so that an answer has the closing
mark alone. All before such a mark is thought. A mark that is opened and not closed makes thought of all behind it.
"""

import re

import msgspec

_WORDS = r"(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis)"
_OPENS = (
    rf"(?m:^)[ \t]*<{_WORDS}>|(?m:^)[ \t]*\[THINK\]"
    "|\N{WHITE LEFT-POINTING TRIANGLE}think\N{WHITE RIGHT-POINTING TRIANGLE}"
    r"|<seed:think>|<\|channel\|>(?:analysis|commentary)[^<]*<\|message\|>"
)
_CLOSES = (
    rf"(?<![\"'`])</{_WORDS}>(?![\"'`])|(?<![\"'`])\[/THINK\](?![\"'`])"
    "|\N{WHITE LEFT-POINTING TRIANGLE}/think\N{WHITE RIGHT-POINTING TRIANGLE}"
    r"|</seed:think>|<\|channel\|>final[^<]*<\|message\|>"
)
_MARK = re.compile(rf"(?P<opens>{_OPENS})|(?P<closes>{_CLOSES})", re.IGNORECASE)
_TOKENS = re.compile(r"<\|(?:im_end|im_start|endoftext|eot_id|end|return|start|eom_id|message)\|>|</s>|<end_of_turn>")
"""Marks of templates that some servers leave in the text."""


class Spoken(msgspec.Struct, frozen=True):
    """The text of an answer without thoughts; `unclosed` if it ends inside of a thought."""

    text: str
    unclosed: bool = False


def without_thoughts(text: str) -> Spoken:
    """Return what a model said, without what it only thought."""
    kept: list[str] = []
    at, opened = 0, False
    for mark in _MARK.finditer(text):
        if mark["opens"] and not opened:
            kept.append(text[at : mark.start()])
            opened = True
        elif mark["closes"]:
            if not opened:  # the template opened the thought
                kept.clear()
            opened, at = False, mark.end()
    if not opened:
        kept.append(text[at:])
    return Spoken(_TOKENS.sub("", "".join(kept)), unclosed=opened)
