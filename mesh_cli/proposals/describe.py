"""A proposal, run, agent, worker or fact as data for JSON; `mesh_cli.proposals.card` draws it. Pure."""

from collections import Counter
from typing import Any

import msgspec

from gateway.resolve import Named
from mesh.board import Board, Critique, Member
from mesh.events import AgentJoined, ProposalPromoted, WorkerJoined
from mesh.leaderboard import Ranking
from mesh.proposal_card import card_of, run_row, worker_name
from mesh.proposal_numbers import gain_of
from mesh.wire import Entry

About = dict[str, Any]
_RECENT = 10
"""Latest proposals of an agent, or runs of a worker."""


def about(board: Board, named: Named, ranking: Ranking | None = None) -> About:
    """Return what the board knows of a proposal, run, agent or worker; `ranking` is one of the board."""
    if named.kind == "proposal":
        return {"what": named.kind, **about_proposal(board, named.id, ranking or Ranking(board))}
    makers = {"run": about_run, "agent": about_agent, "worker": about_worker}
    return {"what": named.kind, **makers[named.kind](board, named.id)}


def about_proposal(board: Board, tree: str, ranking: Ranking) -> About:
    """Return a proposal with its rank."""
    rank = next((row.rank for row in ranking.rows() if row.proposal == tree), None)
    return msgspec.structs.asdict(card_of(board, tree, rank=rank, ranking=ranking))


def about_run(board: Board, name: str) -> About:
    """Return a run: its request, attempts, outcome, curve and the end of its log."""
    run = board.runs[name]
    finished, requested = run.finished, run.requested
    proposal = board.proposals.get(requested.proposal)
    return {
        **msgspec.structs.asdict(run_row(board, run)),
        "seq": run.seq,
        "proposal": requested.proposal,
        "title": proposal.event.title if proposal else "",
        "requested": requested,
        "attempts": [worker_name(board, boot) for boot in run.begun],
        "killed": run.killed,
        "finished": finished,
        "critiques": run.critiques,
    }


def about_agent(board: Board, name: str) -> About:
    """Return an agent: its lives, what it did, and what that earned.

    `earned` is by how much its promoted proposals are better than the champions that they met, in units of the metric.
    """
    lives = [(boot, member) for boot, member in board.agents.items() if member.name == name]
    own = {tree: proposal for tree, proposal in board.proposals.items() if proposal.author == name}
    words = [w for p in board.proposals.values() for w in p.critiques if w.author == name]
    words += [w for run in board.runs.values() for w in run.critiques if w.author == name]
    won = [(tree, r) for tree, p in own.items() for r in p.rulings if isinstance(r, ProposalPromoted)]
    ranking = Ranking(board)
    gains = [gain_of(ranking, tree, ruling.met) for tree, ruling in won if ruling.met]
    return {
        **_last_life(lives),
        "proposals": len(own),
        "states": dict(Counter(ranking.state(tree) for tree in own)),
        "promoted": len({tree for tree, _ in won}),
        "earned": sum(gain for gain in gains if gain is not None),
        "critiques": dict(Counter(word.verdict for word in words)),
        "usd": board.spent.get(name),
        "tokens": board.tokens.get(name),
        "failed_calls": failed.calls if (failed := board.failed_calls.get(name)) else 0,
        "latest": [
            {"proposal": tree, "title": own[tree].event.title, "state": ranking.state(tree)}
            for tree in list(own)[-_RECENT:][::-1]
        ],
        "lives": [_life(boot, member) for boot, member in lives],
    }


def about_worker(board: Board, name: str) -> About:
    """Return a worker: its lives, the runs it ended and the time they took."""
    lives = [(boot, member) for boot, member in board.workers.items() if member.name == name]
    boots = {boot for boot, _ in lives}
    ended = [(n, run) for n, run in board.runs.items() if run.finished and run.finished.worker in boots]
    busy = [n for n, run in board.runs.items() if not run.finished and run.worker in boots]
    outcomes = (run_row(board, run) for _, run in ended)
    return {
        **_last_life(lives),
        "runs": len(ended),
        "outcomes": dict(Counter(row.reason or row.state for row in outcomes)),
        "worker_s": sum(run.finished.trial_s + run.finished.score_s for _, run in ended if run.finished),
        "running": busy,
        "latest": [run_row(board, run) for _, run in ended[-_RECENT:][::-1]],
        "lives": [_life(boot, member) for boot, member in lives],
    }


def _last_life(lives: list[tuple[str, Member]]) -> About:
    _, member = lives[-1]
    here = any(not life.left for _, life in lives)
    return {"name": member.name, "here": here, **_joined(member.joined)}


def _joined(joined: AgentJoined | WorkerJoined) -> About:
    return {key: value for key, value in msgspec.structs.asdict(joined).items() if key != "boot"}


def _life(boot: str, member: Member) -> About:
    return {"boot": boot, "seq": member.seq, "left": member.left}


def about_fact(entry: Entry) -> About:
    """Return an entry of the log in full; `post` is its text where it is not understood."""
    post: object = msgspec.to_builtins(entry.post) if entry.post else entry.raw.decode("utf-8", "replace")
    where = {"kind": entry.subject.kind, "key": entry.subject.key, "author": entry.subject.author}
    return {"what": "fact", "seq": entry.seq, "time": entry.time, **where, "understood": bool(entry.post), "post": post}


def critique_words(critique: Critique) -> str:
    """Return a critique on one line."""
    sure = "" if critique.confidence is None else f", {critique.confidence:.0%} sure"
    rule = f" [{critique.rule}]" if critique.rule else ""
    return f"{critique.author} {critique.verdict}s{sure}{rule}: {critique.text}"
