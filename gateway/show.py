"""`show`: one thing of an arena: a proposal, a run, an agent, a worker, or an entry of the log."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.answers import Shown, closed_words, quote_of
from gateway.door import Door
from gateway.resolve import Named, find
from mesh.admission_order import place_words, queue_place
from mesh.board import Board, Critique, Member, Proposal, Run
from mesh.data_marks import tame
from mesh.errors import BadInput, UnknownName
from mesh.events import ProposalPromoted
from mesh.leaderboard import Ranking
from mesh.proposal_card import relative, run_row, worker_name
from mesh.proposal_numbers import cost_of
from mesh.recall import proposals_of, recall

_TEXT, _SHORT = 4000, 300
"""Characters of the text that was asked for, and of another one beside it."""

_LISTED = 20
"""Latest runs, critiques and lives that are shown; the others are counted."""

_WORD = re.compile(r"[\w.:/+-]{0,128}", re.ASCII)


async def show(door: Door, word: str, *, start: int = 0) -> Shown:
    """Return what is known about one thing.

    Args:
        door: The arena.
        word: Its name or the beginning of it; a sequence is that entry of the log.
        start: The character with which long texts begin; 0 is the first one.

    Raises:
        BadInput: `start` is below 0.
        UnknownName: The word names nothing, or several things.
        BusError: The log cannot be reached.
    """
    if start < 0:
        raise BadInput(f"start is {start}; use 0 or more")
    named, others = find(door.board, word)
    trees = [named.id] if named.kind == "proposal" else proposals_of(door.board, [named.id])
    await recall(door.bus, door.board, trees)
    board = door.board
    match named.kind:
        case "proposal":
            about = _proposal(board, named.id, start)
        case "run":
            about = _run(board, named.id, start)
        case "fact":
            about = await _entry(door, named, start)
        case "agent":
            about = _member(board, board.agents, named.id)
            about |= {"usd": board.spent.get(named.id), "tokens": board.tokens.get(named.id)}
        case "worker":
            about = _member(board, board.workers, named.id)
            boots = {boot for boot, member in board.workers.items() if member.name == named.id}
            about["running"] = [run for run in board.unfinished if board.runs[run].worker in boots][:_LISTED]
    return Shown(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        kind=named.kind,
        id=named.id,
        about=about,
        others=len(others),
        more=_more(board, named),
    )


def _more(board: Board, named: Named) -> str:
    """Return what of a proposal or run was left out, and how to get it."""
    thing: Proposal | Run
    counts: dict[str, int] = {}
    match named.kind:
        case "proposal":
            thing = board.proposals[named.id]
            counts = {"runs": len((*thing.runs, *thing.sealed)), "knobs": len(thing.event.knobs)}
        case "run":
            thing = board.runs[named.id]
            counts = {"points of the curve": len(thing.finished.curve) if thing.finished else 0}
        case _:
            return ""
    counts["critiques"] = len(thing.critiques)
    left_out = [f"{count - _LISTED:,} {what}" for what, count in counts.items() if count > _LISTED]
    where = f"the views runs and events of sql have them ({named.kind} = '{named.id}')"
    return f"{', '.join(left_out)} are left out; {where}" if left_out else ""


def _proposal(board: Board, tree: str, start: int) -> dict[str, Any]:
    proposal, ranking = board.proposals[tree], Ranking(board)
    event, row, author = proposal.event, ranking.of(tree), proposal.author
    runs = (*proposal.runs, *proposal.sealed)
    return {
        "commit": event.commit,
        "posted": proposal.seq,
        "at": proposal.time.isoformat(),
        "author": author,
        "how": event.origin.how,
        "state": ranking.state(tree),
        "queue": "" if row else place_words(queue_place(board, tree)),
        "mean": row.mean if row else None,
        "low": row.low if row else None,
        "high": row.high if row else None,
        "fresh": row.fresh if row else 0,
        "seeds": row.seeds if row else 0,
        "self_reported": row is not None and row.self_reported,
        "predicted_gain": event.predicted_gain,
        "confidence": event.confidence,
        "title": quote_of(board, author, event.title, _SHORT),
        "rationale": quote_of(board, author, event.rationale[start:], _TEXT),
        "parents": [
            {"proposal": parent, "gain": relative(ranking, parent, tree, parent).gain} for parent in event.parents
        ],
        "knobs": _walked(board, author, msgspec.to_builtins(event.knobs[:_LISTED])),
        "why": quote_of(board, "the curator", proposal.ruled_out or proposal.why, _SHORT),
        "rulings": [
            {
                "verdict": "promoted" if isinstance(ruling, ProposalPromoted) else "retired",
                "mean": ruling.mean,
                "text": quote_of(board, "the curator", ruling.text, _SHORT),
            }
            for ruling in proposal.rulings[-_LISTED:]
        ],
        "critiques": _critiques(board, proposal.critiques),
        "runs": [_run_line(board, board.runs[name]) for name in runs[-_LISTED:]],
        "cost": cost_of(board, tree),
    }


def _run(board: Board, name: str, start: int) -> dict[str, Any]:
    run = board.runs[name]
    finished = run.finished
    log = finished.log_tail[start:] if finished else ""
    return {
        **_run_line(board, run),
        "proposal": run.requested.proposal,
        "requested": run.seq,
        "finished": run.finished_seq or None,
        "attempts": [worker_name(board, boot) for boot in run.begun[-_LISTED:]],
        "curve": [[point.fraction, point.value] for point in finished.curve[-_LISTED:]] if finished else [],
        "critiques": _critiques(board, run.critiques),
        "log": quote_of(board, "the trial", log, _TEXT),
    }


def _run_line(board: Board, run: Run) -> dict[str, Any]:
    row = run_row(board, run)
    return {
        "run": row.run,
        "lane": row.lane,
        "seed": row.seed,
        "state": row.state,
        "value": row.value,
        "reason": row.reason,
        "message": quote_of(board, "the trial", row.message, _SHORT),
        "trial_s": row.trial_s,
        "worker": row.worker,
        "worker_class": row.worker_class,
    }


def _critiques(board: Board, critiques: tuple[Critique, ...]) -> list[dict[str, Any]]:
    return [
        {
            "seq": each.seq,
            "author": each.author,
            "verdict": each.verdict,
            "rule": tame(each.rule),
            "confidence": each.confidence,
            "text": quote_of(board, each.author, each.text, _SHORT),
        }
        for each in critiques[-_LISTED:]
    ]


def _member(board: Board, members: Mapping[str, Member], name: str) -> dict[str, Any]:
    lives = [(boot, member) for boot, member in members.items() if member.name == name]
    return {
        "lives": [
            {
                "boot": boot,
                "joined": member.seq,
                "left": member.left,
                "silent": member.silent,
                "as": _walked(board, name, msgspec.to_builtins(member.joined)),
            }
            for boot, member in lives[-_LISTED:]
        ],
        "lives_left_out": max(0, len(lives) - _LISTED),
    }


async def _entry(door: Door, named: Named, start: int) -> dict[str, Any]:
    """Return an entry of the log with all fields of its fact."""
    board = door.board
    for entry in await door.bus.entries([int(named.id)]):
        subject, post = entry.subject, entry.post
        head = {"at": entry.time.isoformat(), "kind": tame(subject.kind), "counts": entry.seq not in board.void}
        if post is None:
            return {**head, "author": tame(subject.author), "event": None}
        event = _walked(board, post.author, msgspec.to_builtins(post.event), start)
        return {**head, "author": post.author, "cause": tame(post.cause), "event": event}
    raise UnknownName(f"arena {board.arena} has no entry {named.id} any more; see mesh digest")


def _walked(board: Board, author: str, value: Any, start: int = 0, most: int = _TEXT) -> Any:
    """Return plain data with each text that is more than a word in a fence, and long lists cut."""
    match value:
        case str():
            return value if _WORD.fullmatch(value) else quote_of(board, author, value[start:], most)
        case list() | tuple():
            shown = [_walked(board, author, each, start, _SHORT) for each in value[:_LISTED]]
            return [*shown, f"{len(value) - _LISTED} more"] if len(value) > _LISTED else shown
        case dict():
            kept = list(value.items())[: 5 * _LISTED]
            found = {tame(str(key))[:_SHORT]: _walked(board, author, each, start, most) for key, each in kept}
            return found | ({"left_out": len(value) - len(kept)} if len(value) > len(kept) else {})
    return value
