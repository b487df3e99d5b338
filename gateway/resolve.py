"""Finds what a word of the command line names: a proposal, a run, an agent, a worker or a fact. Pure.

A proposal is named by the beginning of its tree or commit hash, `champion` or `baseline`; a run by its name or the
beginning of it; an agent or worker by its name; a fact by its sequence, `#12` or `12`. `run:NAME` says which kind is
meant.
"""

import re
from typing import Literal

import msgspec

from mesh.board import Board
from mesh.errors import UnknownName
from mesh.text import short

_Kind = Literal["proposal", "run", "agent", "worker", "fact"]
_KINDS: tuple[_Kind, ...] = ("proposal", "run", "agent", "worker", "fact")
LISTED = 10
SHORTEST_NUMBER_AS_HASH = 4
NO_BASELINE = "nobody has posted the baseline of arena {} yet; name a proposal instead"


class Named(msgspec.Struct, frozen=True, order=True):
    """Something on the board; `id` is a tree hash, the name of a run, agent or worker, or a sequence number."""

    kind: _Kind
    id: str


def find(board: Board, word: str) -> tuple[Named, list[Named]]:
    """Return what `word` names, and what else starts with it.

    A whole name wins over the start of one; digits alone are a sequence number if the log is that long. Three digits or
    fewer are never taken for the start of a hash alone: hashes are random, and a number past the end of the log would
    now and then name some proposal.

    Raises:
        UnknownName: it matches nothing, or several things equally well.
    """
    head, colon, rest = word.partition(":")
    only = [kind for kind in _KINDS if colon and kind == head] or list(_KINDS)
    plain = rest if len(only) == 1 else word
    whole = [named for named in _whole(board, plain) if named.kind in only]
    starts = [named for named in _started_with(board, plain) if named.kind in only and named not in whole]
    if not whole and len(only) > 1 and plain.isdecimal() and len(plain) < SHORTEST_NUMBER_AS_HASH:
        starts = [named for named in starts if named.kind != "proposal"]
    if any(named.kind == "proposal" for named in whole + starts):
        # The runs of a proposal are called after it.
        trees = {named.id for named in whole + starts if named.kind == "proposal"}
        starts = [n for n in starts if n.kind != "run" or board.runs[n.id].requested.proposal not in trees]
    if len(whole or starts) == 1:
        return (whole or starts)[0], starts if whole else []
    if not (whole or starts):
        if word == "champion":
            raise UnknownName(_no_champion(board))
        if word == "baseline":
            raise UnknownName(NO_BASELINE.format(board.arena))
        raise UnknownName(f"{word[:60]!r} is not the name of anything in arena {board.arena}, nor the start of one")
    raise UnknownName(
        f"{word!r} matches {_list(board, whole or starts, plain)}; write more of it, or its kind as in run:NAME"
    )


def find_proposal(board: Board, word: str) -> str:
    """Return the tree hash of the proposal that `word` names.

    Raises:
        UnknownName: there is none, or more than one.
    """
    plain = word.removeprefix("proposal:")
    if plain in ("champion", "") and board.champion:
        return board.champion
    if plain == "baseline" and (base := _baseline(board)):
        return base
    found = sorted(named.id for named in _started_with(board, plain) if named.kind == "proposal")
    if plain in board.proposals or len(found) == 1:
        return plain if plain in board.proposals else found[0]
    if not found:
        if plain in ("champion", ""):
            raise UnknownName(_no_champion(board))
        if plain == "baseline":
            raise UnknownName(NO_BASELINE.format(board.arena))
        raise UnknownName(f"no proposal of arena {board.arena} starts with {word[:60]!r}; see mesh leaderboard")
    named = _list(board, [Named("proposal", tree) for tree in found], plain)
    raise UnknownName(f"{len(found)} proposals of arena {board.arena} start with {word!r}: {named}; write more of it")


def named_words(named: Named) -> str:
    """Return the kind and the short name of a thing."""
    if named.kind == "proposal":
        return f"proposal {short(named.id)}"
    return f"fact #{named.id}" if named.kind == "fact" else f"{named.kind} {named.id}"


def _baseline(board: Board) -> str:
    """Return the proposal that is the artifact as it was opened; "" before anybody has posted it."""
    base = board.opened.base_tree if board.opened else ""
    return base if base in board.proposals else ""


def _no_champion(board: Board) -> str:
    return f"arena {board.arena} has no champion yet; name a proposal instead"


def _whole(board: Board, word: str) -> list[Named]:
    """Return everything with exactly this name."""
    found: list[Named] = []
    number = re.fullmatch(r"#?([0-9]{1,18})", word)
    if number and 1 <= int(number[1]) <= board.seq:
        found.append(Named("fact", str(int(number[1]))))
    if word == "champion" and board.champion:
        found.append(Named("proposal", board.champion))
    if word == "baseline" and (base := _baseline(board)):
        found.append(Named("proposal", base))
    if word in board.proposals:
        found.append(Named("proposal", word))
    if word in board.runs:
        found.append(Named("run", word))
    for kind, members in (("agent", board.agents), ("worker", board.workers)):
        if any(member.name == word for member in members.values()):
            found.append(Named("agent" if kind == "agent" else "worker", word))
    return found


def _started_with(board: Board, word: str) -> list[Named]:
    """Return the proposals and runs whose names start with `word`, in the order of the log."""
    if not word:
        return []
    proposals = [Named("proposal", tree) for tree in board.proposals.starting_with(word)]
    return proposals + [Named("run", run) for run in board.runs if run.startswith(word)]


def _list(board: Board, found: list[Named], word: str) -> str:
    shown = ", ".join(_shown(board, named, word) for named in found[:LISTED])
    return shown + (f" and {len(found) - LISTED} more" if len(found) > LISTED else "")


def _shown(board: Board, named: Named, word: str) -> str:
    """Return a thing by name, with its commit if that is what starts with `word`."""
    if named.kind != "proposal" or word in ("champion", "baseline") or named.id.startswith(word):
        return named_words(named)
    return f"{named_words(named)} (commit {short(board.proposals[named.id].event.commit)})"
