"""`lineage`: the ancestors of a proposal, the nearest first."""

from itertools import islice

from gateway.answers import Ancestry, FamilyRow, closed_words, quote_of
from gateway.door import Door
from mesh.errors import BadInput
from mesh.families import family
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import gain_over_parents
from mesh.text import printable

_MOST, _TITLE = 200, 120


async def lineage(door: Door, word: str, *, most: int = 50) -> Ancestry:
    """Return a proposal and its ancestors.

    Args:
        door: The arena.
        word: The proposal, as `Door.proposal` takes it.
        most: How many rows, 1 to 200.

    Raises:
        BadInput: `most` is out of range.
        UnknownName: There is no such proposal.
        BusError: The log cannot be reached.
    """
    if not 1 <= most <= _MOST:
        raise BadInput(f"most is {most}; use 1 to {_MOST}")
    tree = await door.proposal(word)
    board = door.board
    tree = tree or (board.opened.base_tree if board.opened else "")
    found, ranking = family(board, tree, "up"), Ranking(board)
    left_out = max(0, len(found.depths) - most)
    rows = tuple(_row(ranking, each, depth) for each, depth in islice(found.depths.items(), most))
    return Ancestry(
        arena=board.arena,
        seq=board.seq,
        closed=closed_words(board),
        proposal=tree,
        rows=rows,
        left_out=left_out,
        next=rows[-1].proposal if left_out else "",
    )


def _row(ranking: Ranking, tree: str, depth: int) -> FamilyRow:
    board = ranking.board
    known, row = board.proposals.get(tree), ranking.of(tree)
    if known is None:
        return FamilyRow(
            proposal=printable(tree),
            depth=depth,
            parents=(),
            author="",
            state="unknown",
            mean=None,
            gain=None,
            title="",
        )
    return FamilyRow(
        proposal=tree,
        depth=depth,
        parents=known.event.parents,
        author=known.author,
        state=ranking.state(tree),
        mean=row.mean if row else None,
        gain=gain_over_parents(ranking, tree),
        title=quote_of(board, known.author, known.event.title, _TITLE),
    )
