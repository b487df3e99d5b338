"""Rows of the tables: of all entries, and of the frequent facts by their kinds; `tables.sql` defines the columns.

A number that does not fit its column becomes null, as a cast in SQL would make it.
"""

import datetime as dt
from typing import Any

import msgspec

from mesh import events as e
from mesh.wire import Entry

_Row = tuple[Any, ...]
_PostRow = tuple[str, int, dt.datetime | None, dt.datetime | None, str, str, str, str, str, str, bool]

_ENCODE = msgspec.json.Encoder()

_BIG = 2**63
_HUGE = 2**127


def row_of(arena: str, entry: Entry) -> _PostRow:
    """Return the row of an entry; never fails, for any bytes."""
    post, where = entry.post, entry.subject
    time = _utc(entry.time)
    if post is not None:
        try:
            body = _ENCODE.encode(post.event).decode()
            posted = _utc(post.at)
            header = (where.author, where.kind, where.key, post.cause, body)
            return arena, entry.seq, time, posted, post.id, *header, True
        except (msgspec.MsgspecError, OverflowError, ValueError):
            pass
    body = entry.raw.decode("utf-8", "replace")
    return arena, entry.seq, time, None, "", _text(where.author), _text(where.kind), _text(where.key), "", body, False


def table_row(
    arena: str, seq: int, time: dt.datetime | None, author: str, event: e.AnyEvent, *, rules_out: bool = False
) -> tuple[str, _Row] | None:
    """Return table and row of a fact that counts; None if its kind has no table.

    Args:
        arena: The arena.
        seq: The sequence of the entry.
        time: Its time.
        author: Who posted it.
        event: The fact.
        rules_out: Whether it is a critique that rules out its target.
    """
    match event:
        case e.RunFinished(outcome=outcome):
            match outcome:
                case e.Scored():
                    end: _Row = ("scored", None, None, outcome.value, outcome.self_reported)
                case e.Infeasible() | e.ScreenedOut():
                    end = (outcome.reason, outcome.reason, outcome.message, None, outcome.self_reported)
                case _:
                    end = ("failed", outcome.reason, outcome.message, None, None)
            missed = outcome if isinstance(outcome, e.Infeasible | e.ScreenedOut) else None
            beyond = (missed.violation, missed.value) if missed else (None, None)
            at = (outcome.stage, _fits(outcome.left, _BIG)) if isinstance(outcome, e.ScreenedOut) else (None, None)
            stages: _Row = (None, None, None, None)
            if event.stages:
                ran = zip(*((s.stage, s.value, s.trial_s, s.score_s) for s in event.stages), strict=True)
                stages = tuple(map(list, ran))
            where = (event.worker, event.worker_class, event.evaluator)
            spent = (event.trial_s, event.score_s, event.cpu_s, event.peak_memory_mb)
            usd = event.cost.usd if event.cost else None
            measured = (event.budget_used_s, event.budget_counts, event.predict_s)
            budget = measured if event.budget_counts else (None, None, None)
            margin = event.items.margin if event.items else None
            numbers = outcome.metrics if isinstance(outcome, e.Scored | e.Infeasible | e.ScreenedOut) else {}
            metrics = (list(numbers), list(numbers.values())) if numbers else (None, None)
            gpu = (event.peak_gpu_memory_mb, event.gpu_utilisation)
            slot_s = event.cost.seconds if event.cost else None
            more = (usd, *budget, *metrics, *beyond, *at, *stages, margin, *_judged(event.judge), *gpu, slot_s)
            return "finished", (arena, seq, time, event.run, *end, *where, *spent, *more)
        case e.RunRequested():
            columns = (event.run, event.proposal, event.lane, _fits(event.seed, _HUGE), event.worker_class)
            audit = msgspec.json.encode(event.audit).decode() if event.audit else None
            special = (event.instead_of or None, list(event.not_by) or None, audit)
            return "requested", (arena, seq, time, *columns, event.evaluator, *special)
        case e.RunStarted():
            return "started", (arena, seq, time, event.run, _fits(event.attempt, _BIG), event.worker)
        case e.CritiquePosted():
            word = (event.target, event.verdict, event.rule, event.predicted, event.confidence)
            ruling = event.text if rules_out else None
            return "criticised", (arena, seq, time, author, *word, event.cost is not None, *_cost(event.cost), ruling)
        case e.ProposalPosted(origin=origin):
            idea = (event.tree, event.title, event.rationale, event.commit, origin.how, origin.name)
            forecast = (list(event.parents), event.predicted_gain, event.confidence)
            known = (origin.share, _fits(event.as_of, _BIG))
            return "proposed", (arena, seq, time, author, *idea, *forecast, *_cost(event.cost), *known)
        case e.ProposalPromoted():
            return "judged", (arena, seq, time, event.proposal, "promoted", None, event.met, event.p_better)
        case e.ProposalRetired():
            return "judged", (arena, seq, time, event.proposal, "retired", event.why, event.met, event.p_better)
        case e.ArenaOpened(spec=spec):
            rule = (
                event.evaluator,
                "" if spec.objective.noise == "items" else event.base_tree,  # as `mesh.evidence.ranking_rule`
                int(spec.objective.gain(1)),
                spec.objective.noise == "none",
                list(spec.objective.also),
                event.base_tree,
                [tree for group in event.ruled_out for tree in group.proposals],
                [group.text for group in event.ruled_out for _ in group.proposals],
            )
            return "opened", (arena, seq, time, _fits(event.version, _BIG), *rule)
        case _:
            return None


def _judged(judge: e.JudgeUse | None) -> _Row:
    if judge is None:
        return None, None, None, None, None
    calls = (_fits(judge.calls, _BIG), _fits(judge.cached, _BIG))
    return *calls, _fits(judge.tokens_in, _BIG), _fits(judge.tokens_out, _BIG), judge.usd


def _cost(cost: e.Cost | None) -> _Row:
    if cost is None:
        return None, None, None, None
    return cost.usd, _fits(cost.tokens_in, _BIG), _fits(cost.tokens_out, _BIG), cost.seconds


def _fits(number: int | None, bound: int) -> int | None:
    return number if number is not None and -bound <= number < bound else None


def _utc(time: dt.datetime) -> dt.datetime | None:
    if time.tzinfo is dt.UTC:
        return time.replace(tzinfo=None)
    try:
        return time.astimezone(dt.UTC).replace(tzinfo=None) if time.tzinfo else time
    except OverflowError:
        return None


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
