"""One line for every fact, safe to print: control characters of other people's text are made harmless."""

import re
from typing import assert_never

from mesh import events as e
from mesh.board import Board, Proposal
from mesh.wire import Entry

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")
LINE = 400


def printable(text: str, limit: int = LINE) -> str:
    """Return `text` on one line, without control characters, cut at `limit` characters where that makes it shorter."""
    flat = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\n", " ⏎ ").replace("\t", " "))
    cut = f"{flat[:limit]}… ({len(text):,} characters)"
    return flat if len(flat) <= max(limit, len(cut)) else cut


def short(name: str) -> str:
    """Return the first characters of a hash, enough to name a proposal."""
    return name[:10]


def line_of(entry: Entry) -> str:
    """Return an entry as one line: sequence, time, author, and what it says."""
    clock = entry.time.strftime("%H:%M:%S")
    if entry.post is None:
        where = entry.subject
        return f"{entry.seq:>6} {clock} {printable(where.author, 20):<14} {printable(where.kind, 40)} (not understood)"
    return f"{entry.seq:>6} {clock} {printable(entry.post.author, 20):<14} {printable(say(entry.post.event))}"


def say(event: e.AnyEvent) -> str:
    """Return a fact in a few words."""
    match event:
        case e.ArenaOpened():
            return f"opened version {event.version} of {event.spec.name}: {event.spec.summary}"
        case e.ArenaClosed():
            return f"closed the arena ({event.reason}) {event.text}"
        case e.AgentJoined():
            return f"joined as {event.role}"
        case e.WorkerJoined():
            return f"joined with {event.slots} slots on {event.worker_class} ({event.device}), sandbox {event.tier}"
        case e.AgentLeft() | e.WorkerLeft():
            return f"left ({event.reason})"
        case e.ProposalPosted():
            return f"proposes {short(event.tree)} {event.title}"
        case e.CritiquePosted():
            return f"{event.verdict}s {short(event.target)}: {event.text}"
        case e.RunRequested():
            return f"asks for {event.run}"
        case e.RunStarted():
            return f"starts {event.run} (attempt {event.attempt})"
        case e.RunKilled():
            return f"kills {event.run} ({event.by}) {event.text}"
        case e.RunFinished():
            return f"finished {event.run}: {_outcome(event.outcome)} in {event.trial_s:.1f} s"
        case e.ProposalPromoted():
            return f"promotes {short(event.proposal)} with {event.mean:.4f}: champion of round {event.round}"
        case e.ProposalRetired():
            return f"retires {short(event.proposal)} ({event.why.replace('_', ' ')}) {event.text}"
        case e.NotePosted():
            reply = f" (to {event.reply_to})" if event.reply_to else ""
            return f"#{event.channel}{reply}: {event.text}"
        case e.ModelAsked():
            return f"asked {event.model} to {event.purpose} in vain: {event.text}"
        case e.BudgetGranted():
            return f"grants budget {event.n}"
        case _:
            assert_never(event)


def _outcome(outcome: e.Scored | e.Failed) -> str:
    if isinstance(outcome, e.Scored):
        return f"{outcome.value:.4f}{' (self-reported)' if outcome.self_reported else ''}"
    return f"failed ({outcome.reason}): {outcome.message}"


MARKED = "* self-reported: the candidate's own code ran in the process that said this number"


def is_self_reported(board: Board, tree: str) -> bool:
    """Tell whether any counted score of a proposal is its own word."""
    outcomes = (run.finished.outcome for run in board.current_runs(tree) if run.finished)
    return any(isinstance(outcome, e.Scored) and outcome.self_reported for outcome in outcomes)


def score_of(board: Board, tree: str) -> str:
    """Return the mean score of a proposal, marked where it is the proposal's own word; '-' where there is none.

    It is the mean of fresh scores where there are some, else the claim by which the proposal was found.
    """
    values = proven(board, tree) or board.scores(tree)
    mark = "*" if is_self_reported(board, tree) else ""
    return f"{sum(values) / len(values):.4f}{mark}" if values else "-"


def proven(board: Board, tree: str) -> list[float]:
    """Return the scores that prove something about a proposal: the fresh ones, all of an exact metric."""
    from agents.evidence import fresh

    if board.spec.objective.noise == "none":
        return board.scores(tree)
    return list(fresh(board, tree).values())


def standing(board: Board) -> list[dict[str, object]]:
    """Return the proposals that have scores as rows for a table or JSON.

    The champion comes first, then what has fresh scores by the bound of its interval, then claims.
    """
    from agents.evidence import estimate, noise

    rows: list[dict[str, object]] = []
    found = noise(board)
    for tree, proposal in board.proposals.items():
        if not (scores := board.scores(tree)):
            continue
        fresh = proven(board, tree)
        value = estimate(fresh or scores, found)
        bounded = bool(fresh) and found.dof > 0
        rows.append(
            {
                "proposal": tree,
                "mean": value.mean,
                "low": value.low if bounded else None,
                "high": value.high if bounded else None,
                "seeds": value.count,
                "fresh": len(fresh),
                "self_reported": is_self_reported(board, tree),
                "state": state_of(proposal, proven=bool(fresh)),
                "author": proposal.author,
                "title": proposal.event.title,
            }
        )
    sign = -1 if board.opened and board.spec.objective.direction == "maximize" else 1

    def place(row: dict[str, object]) -> tuple[object, ...]:
        mean, bound = row["mean"], row["high" if sign > 0 else "low"]
        worst = bound if isinstance(bound, float) else mean
        assert isinstance(worst, float)
        return row["state"] != "champion", not row["fresh"], sign * worst, row["proposal"]

    rows.sort(key=place)
    return [{"rank": place + 1, **row} for place, row in enumerate(rows)]


def interval(row: dict[str, object]) -> str:
    """Return the 95 % interval of a row of `standing`, in units of the metric; "a claim" where nothing is proven."""
    low, high = row["low"], row["high"]
    return f"{low:.4f} … {high:.4f}" if isinstance(low, float) and isinstance(high, float) else "a claim"


def state_of(proposal: Proposal, *, proven: bool) -> str:
    """Return where a proposal stands, as in the view `leaderboard`."""
    if proposal.verdict == "open":
        return "confirming" if proven else "claimed"
    return "demoted" if proposal.why == "demoted" else proposal.verdict.replace("_", " ")
