"""The figures of `mesh status` that count over all of a log, from a projector."""

from typing import Any

import msgspec

from agents.curation.proof_share import ProofTime
from agents.curation.waiting_claims import may_wait, waiting_words
from mesh.board import Board
from mesh.bounds import MAX_INTEGER
from mesh.events import PROOF
from mesh.sql_protocol import quoted
from mesh.worker_costs import KeptBooks
from mesh.worker_time import WorkerTime
from mesh_cli.projected.asking import Projector, Row
from mesh_cli.projected.excerpt import MOST_PROVEN, excerpt, sequences
from mesh_cli.projected.ranking import ProjectedRanking, projected_ranking

_FIRST = 100
"""First proposals of a log, by which `agents.curation.put_back` tells whether literals are knobs."""


class ProjectedState:
    """What `mesh status` shows of an arena, but for who is there: `board` has the queue and the members.

    Attributes:
        ranking: The ranking, with the rows of champion and baseline.
        counts: Figures of `mesh status` that an excerpt of a board has not.
        time: What the workers' time went into.
        proof_time: How much of it was proof.
        finished_lately: Runs that ended in the last minutes of the log.
        money: The board with all that the money of the arena is counted from.
        waiting: In a sentence how many claims wait for proof; "" if none do.
    """

    waiting = ""

    def __init__(self, ranking: ProjectedRanking, found: dict[str, list[Row]]) -> None:
        self.ranking, self.board = ranking, ranking.board
        [self._all] = found["counts"]
        lanes = {row["lane"]: row for row in found["lanes"]}
        self.counts = _counts(self._all, found["models"])
        self.time = _worker_time(lanes)
        self.finished_lately: int = self._all["lately"]
        self.finished: int = self._all["finished"]
        seconds = {lane: row["in_order"] or 0.0 for lane, row in lanes.items()}
        self.money = _with_money(self.board, found["books"])
        self.proof_time = ProofTime(self._all["proofs"], self.finished, seconds)


async def projected_state(projector: Projector, rate_over_s: float) -> ProjectedState:
    """Return what `mesh status` shows of a long log.

    Args:
        projector: The projector.
        rate_over_s: Seconds at the end of the log whose ends of runs are counted.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it.
    """
    more = {
        "counts": projector.sql("counts", rate_over_us=round(rate_over_s * 1e6)),
        "lanes": projector.sql("lanes"),
        "models": projector.sql("models"),
        "books": projector.sql("books"),
    }
    state = ProjectedState(*await projected_ranking(projector, queue=True, more=more))
    if may_wait(state.board, state.proof_time):
        state.waiting = waiting_words(await _claims(projector, state.board.scored_seq), state.proof_time)
    return state


async def _claims(projector: Projector, scored_seq: int) -> Board:
    """Return an excerpt by which the curator's rule says of every claim whether it waits for proof."""
    from agents.search.structure.needless import PUT_BACK

    trees = projector.sql("claims", put_back=quoted(PUT_BACK))
    first = projector.sql("first", count=_FIRST)
    ends = projector.sql("ends")
    found = await projector.tables(
        {"facts": sequences(projector, trees=f"{trees} UNION ALL {ends}", relatives=first, queue=True)}
    )
    board = await excerpt(projector, found["facts"], seq=projector.seq, most=MOST_PROVEN)
    board.scored_seq = scored_seq
    return board


def _with_money(board: Board, found: list[Row]) -> Board:
    """Return the board with what was spent and what may be, as the projector keeps it."""
    kept = msgspec.json.decode(found[0]["kept"], type=KeptBooks)
    return msgspec.structs.replace(board, spent=kept.spent, judge=kept.judge, worker_costs=kept.worker_costs)


def _counts(found: Row, models: list[Row]) -> dict[str, Any]:
    paid = sorted((row for row in models if row["usd"] is not None), key=lambda row: row["usd_seq"])
    tokens = found["judge_tokens_in"] or 0, found["judge_tokens_out"] or 0
    return {
        "proposals": found["proposals"],
        "runs_finished": found["finished"],
        "model_tokens": sum(min(int(row["tokens"] or 0), MAX_INTEGER) for row in models),
        "model_usd": round(sum(row["usd"] for row in paid), 6),
        "judge_calls": _bounded(found["judge_calls"]),
        "judge_cached": _bounded(found["judge_cached"]),
        "judge_tokens": sum(map(_bounded, tokens)),
        "judge_usd": round(found["judge_usd"] or 0.0, 6),
        "not_understood": found["not_understood"],
    }


def _bounded(number: int | str | None) -> int:
    return min(int(number or 0), MAX_INTEGER)


def _worker_time(lanes: dict[str, Row]) -> WorkerTime:
    def seconds(lane: str, column: str = "seconds") -> float:
        return lanes[lane][column] or 0.0 if lane in lanes else 0.0

    return WorkerTime(
        search_s=seconds("explore"),
        failed_s=seconds("explore", "failed"),
        proof_s=seconds("confirm"),
        controls_s=seconds("control"),
        looks_s=seconds("sealed") + seconds("audit"),
        runs=sum(row["runs"] for row in lanes.values()),
        proofs=sum(row["runs"] for lane, row in lanes.items() if lane in PROOF),
    )
