"""`critique`: a judgement of a proposal before it runs, or of a run after it, as those of the critic role.

There is one per author and target. Saying it again is safe; another judgement of the same target is refused.
"""

import math
from typing import Literal

from gateway.answers import Critiqued, closed_words
from gateway.door import Door
from gateway.refusals import check_open, check_text
from mesh.board import Board
from mesh.bounds import MAX_NUMBER
from mesh.errors import BadInput, UnknownName
from mesh.events import CritiquePosted
from mesh.leaderboard import Ranking
from mesh.text import short
from mesh.wire import Post, check_token

CritiqueVerdict = Literal["endorse", "warn", "block"]

_TEXT_BYTES = 8 * 1024
_SUREST = 0.99
"""Only rules are certain."""


async def critique(
    door: Door,
    word: str,
    *,
    verdict: CritiqueVerdict,
    text: str,
    author: str,
    predicted_gain: float | None = None,
    confidence: float | None = None,
    model: str = "",
) -> Critiqued:
    """Post a critique, and return it once the board has it.

    Args:
        door: The arena.
        word: The proposal, as `Door.proposal` takes it; the name of a run is that run.
        verdict: `endorse`, `warn` or `block`.
        text: Why.
        author: Who judges, as the log names them.
        predicted_gain: The expected gain over the first parent, in units of the metric.
        confidence: The probability that an endorsed proposal becomes champion, or that another one does not, 0 to 1. A
            block needs one: without, it would be taken for a rule, which nobody overrules.
        model: The model whose judgement it is; "" is a person.

    Raises:
        ArenaIsClosed: The arena takes no critiques.
        BadInput: It is refused, or the author has judged otherwise before; nothing was posted.
        UnknownName: There is no such proposal or run.
        BusError: The log cannot be reached.
    """
    check_token("name", author)
    check_open(door.board, "critiques")
    if verdict not in ("endorse", "warn", "block"):
        raise BadInput(f"the verdict is {str(verdict)[:40]!r}; use endorse, warn or block")
    if verdict == "block" and confidence is None:
        raise BadInput("a block needs a confidence, 0 to 1: it forecasts that the proposal does not become champion")
    text = check_text("the critique", text, _TEXT_BYTES)
    target = await _target(door, word)
    board = door.board
    event = CritiquePosted(
        target=target,
        verdict=verdict,
        rule="model" if model else "opinion",
        text=f"{model}: {text}" if model else text,
        predicted=_score(board, target, predicted_gain),
        confidence=_bounded(confidence),
    )
    before = {each.seq for each in (board.proposals.get(target) or board.runs[target]).critiques}
    seq = await door.follower.post_once(Post.new(author, event))
    board = await door.folded(seq)
    is_new = seq not in before
    [entry] = await door.bus.entries([seq])
    posted = entry.post.event if entry.post else None
    assert isinstance(posted, CritiquePosted)
    if (posted.verdict, posted.text) != (event.verdict, event.text):
        raise BadInput(
            f"{author} has judged {short(target)} before (#{seq}: {posted.verdict}), and there is one critique per "
            f"author; say more in a note: mesh reply {seq} TEXT"
        )
    return Critiqued(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        posted=seq,
        author=author,
        target=target,
        verdict=posted.verdict,
        predicted=posted.predicted,
        confidence=posted.confidence,
        is_new=is_new,
    )


async def _target(door: Door, word: str) -> str:
    """Return the proposal, or the run, that a word names."""
    name = word.removeprefix("run:")
    if name in door.board.runs:
        return name
    tree = await door.proposal(word)
    if tree not in door.board.proposals:
        raise UnknownName(f"nobody has posted the baseline of arena {door.board.arena} yet; name a proposal instead")
    return tree


def _score(board: Board, target: str, gain: float | None) -> float | None:
    """Return the score that a gain over the first parent means."""
    if gain is None:
        return None
    if not math.isfinite(gain) or abs(gain) > MAX_NUMBER:
        raise BadInput(f"the predicted gain is {gain}; use a finite number")
    tree = target if target in board.proposals else board.runs[target].requested.proposal
    known = board.proposals.get(tree)
    base = board.opened.base_tree if board.opened else ""
    parent = known.event.parents[0] if known and known.event.parents else base
    ranking = Ranking(board)
    row = ranking.of(parent) if parent in board.proposals else None
    if row is None:
        raise BadInput(
            f"the parent of {short(tree)} has no score yet, so that a gain over it means no score; leave it out"
        )
    return row.mean + ranking.gain(gain)


def _bounded(confidence: float | None) -> float | None:
    if confidence is None:
        return None
    if not 0 <= confidence <= 1:
        raise BadInput(f"the confidence is {confidence}; use a probability, 0 to 1")
    return min(_SUREST, max(1 - _SUREST, confidence))
