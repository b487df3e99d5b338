"""A ranking whose rows come from a projector: some of the leaderboard, numbers and ranks as a fold gives them."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec

from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.evidence import noise_of_pools
from mesh.exactness import exact_on
from mesh.fresh_scores import Pool
from mesh.leaderboard import LeaderboardRow, Ranking
from mesh.paired import side_by_side
from mesh_cli.projected.asking import Projector, Row, Unanswered, from_projector
from mesh_cli.projected.excerpt import excerpt, sequences
from mesh_cli.projected.totals import AgentTotals, WorkerTotals

_FIRST = 10
"""Rows that decide with how many decimals scores are shown (`mesh.leaderboard.places_of`)."""

_COLUMNS = ", ".join(LeaderboardRow.__struct_fields__)
_NO_SPREAD = 1e-9
"""A noise below this share of the score may be none: then all fresh scores are looked at."""


def leaderboard_rows(found: list[Row]) -> list[LeaderboardRow]:
    """Return the rows of such a query, by rank."""
    return sorted(msgspec.convert(found, list[LeaderboardRow]), key=lambda row: row.rank)


async def projected_rows(bus: ArenaBus, count: int, *, long: int | None = None) -> list[LeaderboardRow] | None:
    """Return the first rows of the leaderboard as of now, or None where the log is to be folded here.

    Args:
        bus: The bus of the arena.
        count: How many rows at most.
        long: How many entries a log has at least of which a projector is asked.
    """

    async def ask(projector: Projector) -> list[LeaderboardRow] | None:
        sql = projector.sql("ranked", columns=_COLUMNS, first=count, others="false")
        found = await projector.tables({"ranked": sql})
        return leaderboard_rows(found["ranked"]) or None

    return await from_projector(bus, ask, long=long)


class ProjectedRanking(Ranking):
    """A ranking of an excerpt of a board, with some rows of the leaderboard: the first ones, and others by name.

    Attributes:
        totals: What the excerpt cannot count of the agent or the worker that it is about; None if it is about neither.
    """

    totals: AgentTotals | WorkerTotals | None = None

    def __init__(self, board: Board, known: Sequence[LeaderboardRow], exact: str, fresh: Sequence[Row] = ()) -> None:
        super().__init__(board)
        self._known = {row.proposal: row for row in known}
        self._exact = exact
        self._fresh = fresh

    def rows(self) -> list[LeaderboardRow]:
        """Return the rows that are known, best first."""
        return list(self._known.values())

    def of(self, tree: str) -> LeaderboardRow | None:
        """Return the row of a proposal; None if it has no score, or was not asked for."""
        return self._known.get(tree)

    def gain_side_by_side(self, tree: str, over: str, worker_class: str = "") -> float | None:
        """Return by how much a proposal is better than another on common seeds; see `Ranking`."""
        worker_class = worker_class or self.worker_class
        if worker_class not in self._levels:
            self._levels[worker_class] = _levels_of(self.board, self._fresh, worker_class)
        return super().gain_side_by_side(tree, over, worker_class)

    @cached_property
    def exact(self) -> str:
        """On what the scores of the arena are exact; "" where they have noise."""
        return self._exact


async def projected_ranking(
    projector: Projector,
    *,
    first: int = _FIRST,
    trees: str = "",
    relatives: str = "",
    runs: str = "",
    queue: bool = False,
    whole: bool = False,
    more: Mapping[str, str] | None = None,
) -> tuple[ProjectedRanking, dict[str, list[Row]]]:
    """Return a ranking of an excerpt that has champion and baseline in full, and the rows of further queries.

    Args:
        projector: The projector.
        first: How many first rows of the leaderboard.
        trees: As `sequences`; their rows are known.
        relatives: As `sequences`; their rows are known.
        runs: As `sequences`.
        queue: As `sequences`.
        whole: As `excerpt`.
        more: Further queries, by the name of the answer.

    Raises:
        BusUnavailable: No projector answers.
        Unanswered: It cannot say it, or the arena was never opened.
    """
    ends = projector.sql("ends")
    named = " UNION ALL ".join(filter(None, (trees, relatives)))
    others = f"is_end OR proposal IN (SELECT proposal FROM ({named}))" if named else "is_end"  # noqa: S608 of our own
    parts = {
        "ranked": projector.sql("ranked", columns=_COLUMNS, first=max(_FIRST, first), others=others),
        "facts": sequences(
            projector,
            trees=" UNION ALL ".join(filter(None, (ends, trees))),
            relatives=relatives,
            runs=runs,
            queue=queue,
        ),
        "scored": projector.sql("scored"),
        "noise": projector.sql("noise"),
        "fresh": projector.sql("fresh"),
    }
    found = await projector.tables(parts | dict(more or {}))
    board = await excerpt(projector, found["facts"], seq=projector.seq, whole=whole)
    if board.opened is None:
        raise Unanswered
    board.scored_seq = found["scored"][0]["seq"] or 0
    known = leaderboard_rows(found["ranked"])
    exact = await _exact(projector, board, found["noise"])
    return ProjectedRanking(board, known, exact, found["fresh"]), found


def _levels_of(board: Board, fresh: Sequence[Row], worker_class: str) -> list[dict[str, float]]:
    """Return what `mesh.evidence.side_by_side_levels` returns for the whole board."""
    whole, recent = Pool(), Pool()
    columns: dict[str, dict[int, float]] = {}
    for row in sorted(fresh, key=lambda row: row["asked"]):
        tree, seed = row["proposal"], int(row["seed"])
        score = (row["asked"], row["worker_class"], seed, row["value"])
        whole.add(tree, score)
        if tree == board.champion or row["asked"] >= board.promoted_seq:
            recent.add(tree, score)
        if row["worker_class"] == worker_class:
            columns.setdefault(tree, {})[seed] = row["value"]
    return side_by_side(columns) if noise_of_pools(whole, recent, worker_class).seeds else []


async def _exact(projector: Projector, board: Board, noises: list[Row]) -> str:
    """Return on what the scores are exact; all proofs are looked at where SQL finds no noise, but for rounding."""
    classes = {row["worker_class"]: row for row in noises}
    asked = False

    def may_be(board: Board, worker_class: str) -> bool:
        nonlocal asked
        found = classes.get(worker_class)
        scale = max(map(abs, board.scores(board.champion)), default=0.0)
        asked = found is not None and found["dof"] >= 2 and found["sd"] <= _NO_SPREAD * scale
        return asked

    if not (where := exact_on(board, may_be)) or not asked:
        return where
    proven = f"{projector.sql('proven')} UNION SELECT '{board.champion}'"
    found = await projector.tables({"facts": sequences(projector, trees=proven)})
    wide = await excerpt(projector, found["facts"], seq=projector.seq)
    wide.scored_seq = board.scored_seq
    return exact_on(wide)
