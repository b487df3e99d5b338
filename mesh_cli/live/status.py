"""The state of an arena: queue, workers, rates, and how far the projector is behind the log."""

import datetime as dt
import time
from collections.abc import Collection
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import anyio
import msgspec

from agents.curation.waiting_claims import waiting_words
from mesh import settings
from mesh.board import Board, Member
from mesh.bus import ArenaBus, Bus
from mesh.errors import BusUnavailable, MeshError
from mesh.events import LANES
from mesh.fleet import present, slots, under_way, waiting
from mesh.leaderboard import Ranking
from mesh.model_pauses import why_agents_pause
from mesh.roll_call import expected, who_answers
from mesh.ruled_out import ruled_out_words
from mesh.stalled import why_paused
from mesh.times import duration
from mesh.wire import Pattern
from mesh.worker_time import WorkerTime, time_advice, time_words, times_of, worker_time
from mesh_cli.connect import board_of
from mesh_cli.live.spending import status_budget, status_budget_words
from mesh_cli.projected.asking import from_projector
from mesh_cli.projected.state import projected_state
from mesh_cli.proposals.champion_score import score_words, scores_of

RATE_OVER_S = 300.0
_ANSWER_WITHIN_S = 2.0


async def figures(bus: ArenaBus) -> dict[str, Any]:
    """Return the figures of `mesh status` in their order; None means unknown."""
    snapshot = settings.snapshot_file(settings.home(), bus.arena)
    age_s = None
    with suppress(OSError):
        age_s = max(0.0, time.time() - snapshot.stat().st_mtime)
    as_of: list[int | None] = []

    async def ask() -> None:
        as_of.append(await projected(bus))

    state = await from_projector(bus, partial(projected_state, rate_over_s=RATE_OVER_S))
    ranking: Ranking
    if state:
        board, ranking = state.board, state.ranking
        as_of.append(board.seq)
        rate = _per_minute(board, state.finished_lately) if state.finished else 0.0
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            board = await board_of(bus)
        ranking, rate = Ranking(board), await runs_per_minute(bus, board)
    now = dt.datetime.now(dt.UTC)
    answering = await who_answers(bus, board, expected(board))
    return {
        **standing_of(board, answering),
        **(state.counts if state else {}),
        **scores_of(ranking),
        **await queue_of(bus, board, answering, now),
        **slots_of(board, answering),
        **(spending_of(board, state.time, state.waiting) if state else spending_of(board)),
        "budget": status_budget(state.money if state else board, answering, now),
        "silent": why_agents_pause(board, now),
        "runs_per_min": rate,
        "projector_as_of": as_of[0],
        "projector_lag": None if as_of[0] is None else max(0, board.seq - as_of[0]),
        "snapshot_age_s": age_s,
        "last_event_age_s": max(0.0, (now - board.time).total_seconds()) if board.seq else None,
    }


def standing_of(board: Board, answering: Collection[str] | None) -> dict[str, Any]:
    """Return the state of the arena and its counts; who is there `answering` says, the boot ids of a roll call."""
    running = under_way(board, answering)
    agents, workers = _names(present(board.agents, answering)), _names(present(board.workers, answering))
    return {
        "arena": board.arena,
        "version": board.opened.version if board.opened else 0,
        "state": "closed" if board.closed else "open",
        "seq": board.seq,
        "proposals": len(board.proposals),
        "runs_finished": board.finished,
        "runs_running": len(running),
        "runs_waiting": len(board.unfinished) - len(running),
        "champion": board.champion,
        "paused": why_paused(board),
        "ruled_out": ruled_out_words(board),
        "model_tokens": sum(board.tokens.values()),
        "model_usd": round(sum(board.spent.values()), 6),
        "judge_calls": board.judge.calls,
        "judge_cached": board.judge.cached,
        "judge_tokens": board.judge.tokens_in + board.judge.tokens_out,
        "judge_usd": round(board.judge.usd, 6),
        "agents": len(agents),
        "workers": len(workers),
        "silent_agents": len(_names(present(board.agents)) - agents),
        "silent_workers": len(_names(present(board.workers)) - workers),
        "not_understood": board.unknown,
    }


def _names(members: dict[str, Member]) -> set[str]:
    return {member.name for member in members.values()}


async def queue_of(bus: Bus, board: Board, answering: Collection[str] | None, now: dt.datetime) -> dict[str, Any]:
    """Return how many runs wait in each lane, and for how long the oldest has (s)."""
    runs = waiting(board, answering)
    lanes = [board.runs[run].requested.lane for run in runs]
    oldest_s = None
    if runs and (requested_at := await _time_of(bus, min(board.runs[run].seq for run in runs))):
        oldest_s = max(0.0, (now - requested_at).total_seconds())
    return {"queue": {lane: lanes.count(lane) for lane in LANES}, "oldest_waiting_s": oldest_s}


def slots_of(board: Board, answering: Collection[str] | None) -> dict[str, Any]:
    """Return how many slots the present workers have, and how many are busy or free."""
    total = slots(board, answering).total()
    busy = min(total, len(under_way(board, answering)))
    return {"slots": total, "slots_busy": busy, "slots_free": total - busy}


def spending_of(board: Board, time: WorkerTime | None = None, waiting: str = "") -> dict[str, Any]:
    """Return what the workers' time went into, in seconds, and advice where that is odd, or where claims wait.

    Args:
        board: The board of the arena.
        time: What the time went into, where the board is an excerpt that does not know it.
        waiting: A sentence that claims wait, where the board is an excerpt.
    """
    if time is None and board.opened:
        waiting = waiting_words(board)
    time = worker_time(times_of(board)) if time is None else time
    share = board.spec.selection.proof_share if board.opened else 1.0
    return {
        "worker_time": msgspec.to_builtins(time),
        "advice": [*filter(None, [waiting]), *time_advice(time, share)],
    }


async def runs_per_minute(bus: Bus, board: Board) -> float:
    """Return finished runs per minute over the last five minutes of the log, or over all of it where it is shorter."""
    if not board.finished or board.opened_at is None:
        return 0.0
    begin = board.time - dt.timedelta(seconds=RATE_OVER_S)
    count = 0
    after = await bus.since(begin) - 1
    async with aclosing(bus.read(after, until=board.seq, only=[Pattern(kind="run.finished")])) as batches:
        async for batch in batches:
            count += len(batch)
    return _per_minute(board, count)


def _per_minute(board: Board, count: int) -> float:
    if board.opened_at is None:
        return 0.0
    span_s = min(RATE_OVER_S, max(1.0, (board.time - board.opened_at).total_seconds()))
    return round(count * 60 / span_s, 2)


async def projected(bus: ArenaBus) -> int | None:
    """Return up to where the projector has folded the log of this arena, None where no projector answers."""
    from mesh.sql_protocol import SERVICE, Answer, Query, decode_reply, encode

    try:
        question = encode(Query(sql="SELECT 1", timeout_s=_ANSWER_WITHIN_S))
        reply = decode_reply(await bus.ask(SERVICE, question, timeout_s=_ANSWER_WITHIN_S))
    except (BusUnavailable, MeshError):
        return None
    return reply.as_of.get(bus.arena, 0) if isinstance(reply, Answer) else None


def status_lines(row: dict[str, Any], width: int | None) -> list[str]:
    """Return the figures as lines for people."""
    from mesh_cli.render.columns import cut_cell

    lanes = ", ".join(f"{lane} {count}" for lane, count in row["queue"].items() if count) or "empty"
    oldest = "" if row["oldest_waiting_s"] is None else f", the oldest for {duration(row['oldest_waiting_s'])}"
    lag = "no projector is running" if row["projector_lag"] is None else f"{row['projector_lag']} entries behind"
    shown = {
        "agents": _present(row["agents"], row["silent_agents"]),
        "workers": _present(row["workers"], row["silent_workers"]),
        "queue": lanes + oldest,
        "slots": f"{row['slots_busy']} busy, {row['slots_free']} free",
        "runs per min": f"{row['runs_per_min']:g} (over the last {RATE_OVER_S / 60:g} min of the log)",
        "worker time": time_words(msgspec.convert(row["worker_time"], WorkerTime)) or "none yet",
        "projector": lag,
        "snapshot": "none yet" if row["snapshot_age_s"] is None else f"{duration(row['snapshot_age_s'])} old",
        "score": score_words(row) or "none yet",
        "last event": "none" if row["last_event_age_s"] is None else f"{duration(row['last_event_age_s'])} ago",
    }
    hidden = {
        "slots_busy", "slots_free", "runs_per_min", "oldest_waiting_s", "projector_as_of", "projector_lag",
        "metric", "champion_mean", "champion_low", "champion_high", "champion_is_baseline", "baseline_mean", "gain",
        "places", "is_side_by_side",
        "snapshot_age_s", "last_event_age_s", "silent_agents", "silent_workers", "advice", "silent",
        "model_tokens", "model_usd", "judge_calls", "judge_cached", "judge_tokens", "judge_usd",
    }  # fmt: skip
    hidden |= {name for name in ("paused", "ruled_out", "budget") if not row[name]}
    if row["budget"]:
        shown["budget"] = status_budget_words(row["budget"])
    if row["model_tokens"] or row["model_usd"]:
        shown["models"] = f"{row['model_tokens']:,} tokens (${row['model_usd']:.4f})"
    if row["judge_calls"] or row["judge_cached"]:
        dollars = f"{row['judge_tokens']:,} tokens (${row['judge_usd']:.4f})"
        shown["judge"] = f"{dollars} in {row['judge_calls']:,} calls, {row['judge_cached']:,} answers from the cache"
    plain = {name.replace("_", " "): value for name, value in row.items() if name not in hidden} | shown
    lines = [f"{name:<15} {value}".rstrip() for name, value in plain.items()]
    lines = lines if width is None else [cut_cell(line, width) for line in lines]
    lines += [f"{'silent':<15} {sentence}" for sentence in row["silent"]]
    return [*lines, *(f"{'advice':<15} {sentence}" for sentence in row["advice"])]


def _present(here: int, silent: int) -> str:
    return f"{here}, and {silent} that {'does' if silent == 1 else 'do'} not answer" if silent else str(here)


async def _time_of(bus: Bus, seq: int) -> dt.datetime | None:
    async with aclosing(bus.read(seq - 1, until=seq)) as batches:
        async for batch in batches:
            return batch[0].time
    return None
