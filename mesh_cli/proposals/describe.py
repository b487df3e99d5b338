"""A proposal, run, agent, worker or fact as data for JSON; `mesh_cli.proposals.card` draws it. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from gateway.resolve import Named
from mesh.board import Board, Critique, Member
from mesh.events import AgentJoined, ProposalPromoted, WorkerJoined
from mesh.leaderboard import Ranking
from mesh.proposal_card import card_of, run_row, worker_name
from mesh.proposal_numbers import gain_of
from mesh.wire import Entry
from mesh_cli.projected.totals import LATEST_SHOWN, AgentTotals, WorkerTotals

About = dict[str, Any]


def about(
    board: Board,
    named: Named,
    ranking: Ranking | None = None,
    totals: AgentTotals | WorkerTotals | None = None,
) -> About:
    """Return what the board knows of a proposal, run, agent or worker.

    Args:
        board: A board, or an excerpt with what is known of the thing.
        named: The thing.
        ranking: A ranking of the board.
        totals: Those of the agent or the worker, where the board is an excerpt.
    """
    ranking = ranking or Ranking(board)
    match named.kind:
        case "proposal":
            known = about_proposal(board, named.id, ranking)
        case "agent":
            known = about_agent(board, named.id, ranking, totals if isinstance(totals, AgentTotals) else None)
        case "worker":
            known = about_worker(board, named.id, totals if isinstance(totals, WorkerTotals) else None)
        case _:
            known = about_run(board, named.id)
    return {"what": named.kind, **known}


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


def about_agent(board: Board, name: str, ranking: Ranking, totals: AgentTotals | None = None) -> About:
    """Return an agent: its lives, what it did, and what that earned.

    `earned` is by how much its promoted proposals are better than the champions that they met, in units of the metric.
    """
    lives = [(boot, member) for boot, member in board.agents.items() if member.name == name]
    own = {tree: proposal for tree, proposal in board.proposals.items() if proposal.author == name}
    totals = totals or _agent_totals(board, name, ranking, own)
    won = [(tree, r) for tree, p in own.items() for r in p.rulings if isinstance(r, ProposalPromoted)]
    gains = [gain_of(ranking, tree, ruling.met) for tree, ruling in won if ruling.met]
    return {
        **_last_life(lives),
        "proposals": totals.proposals,
        "states": _most_first(totals.states),
        "promoted": len({tree for tree, _ in won}),
        "earned": sum(gain for gain in gains if gain is not None),
        "critiques": _most_first(totals.critiques),
        "usd": totals.usd,
        "tokens": totals.tokens,
        "failed_calls": failed.calls if (failed := board.failed_calls.get(name)) else 0,
        "latest": [
            {"proposal": tree, "title": own[tree].event.title, "state": ranking.state(tree)}
            for tree in list(own)[-LATEST_SHOWN:][::-1]
        ],
        "lives": [_life(boot, member) for boot, member in lives],
    }


def _agent_totals(board: Board, name: str, ranking: Ranking, own: Collection[str]) -> AgentTotals:
    words = [w for p in board.proposals.values() for w in p.critiques if w.author == name]
    words += [w for run in board.runs.values() for w in run.critiques if w.author == name]
    return AgentTotals(
        proposals=len(own),
        states=Counter(map(ranking.state, own)),
        critiques=Counter(word.verdict for word in words),
        usd=board.spent.get(name),
        tokens=board.tokens.get(name),
    )


def about_worker(board: Board, name: str, totals: WorkerTotals | None = None) -> About:
    """Return a worker: its lives, the runs it ended and the time they took."""
    lives = [(boot, member) for boot, member in board.workers.items() if member.name == name]
    boots = {boot for boot, _ in lives}
    ended = [run for run in board.runs.values() if run.finished and run.finished.worker in boots]
    busy = [n for n, run in board.runs.items() if not run.finished and run.worker in boots]
    if totals is None:
        rows = [run_row(board, run) for run in ended]
        totals = WorkerTotals(
            runs=len(ended),
            outcomes=Counter(row.reason or row.state for row in rows),
            worker_s=sum(run.finished.trial_s + run.finished.score_s for run in ended if run.finished),
        )
    return {
        **_last_life(lives),
        "runs": totals.runs,
        "outcomes": _most_first(totals.outcomes),
        "worker_s": totals.worker_s,
        "running": busy,
        "latest": [run_row(board, run) for run in ended[-LATEST_SHOWN:][::-1]],
        "lives": [_life(boot, member) for boot, member in lives],
    }


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


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
