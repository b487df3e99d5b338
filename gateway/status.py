"""`status`: how an arena is, in a few numbers."""

from gateway.answers import ArenaStatus, closed_words, quote_of
from gateway.door import Door
from mesh.fleet import present, slots, under_way
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import gain_of
from mesh.stalled import why_paused


async def status(door: Door) -> ArenaStatus:
    """Return how an arena is. Who is there is what the log says: nobody is called."""
    board = door.board
    assert board.opened is not None
    objective, base, ranking = board.spec.objective, board.opened.base_tree, Ranking(board)
    best, first = (ranking.of(tree) for tree in (board.champion, base))
    running = len(under_way(board))
    return ArenaStatus(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        version=board.opened.version,
        summary=board.spec.summary,
        metric=objective.metric,
        direction=objective.direction,
        champion=board.champion,
        mean=best.mean if best else None,
        low=best.low if best else None,
        high=best.high if best else None,
        baseline=base,
        baseline_mean=first.mean if first else None,
        gain=gain_of(ranking, board.champion, base) if best and first else None,
        proposals=len(board.proposals),
        undecided=len(board.undecided),
        runs_finished=board.finished,
        runs_running=running,
        runs_waiting=len(board.unfinished) - running,
        agents=len({member.name for member in present(board.agents).values()}),
        workers=len({member.name for member in present(board.workers).values()}),
        slots=slots(board).total(),
        tokens=sum(board.tokens.values()),
        usd=round(sum(board.spent.values()) + board.judge.usd, 6),
        paused=quote_of(board, "the workers", why_paused(board)),
    )
