"""The runs of a proposal that count now, kept up run by run: a champion has thousands, and a decision asks again."""

from collections.abc import Callable, Mapping, Sequence

from mesh.records import Run

_MOST = 1000
"""Proposals whose runs are kept."""

_State = tuple[int, int, int]
"""The version in force, the entry of the first number in it, and how often the proposal was taken out of its pack.

The first two say which ended runs count; with the third, the runs are other objects.
"""


class CurrentRuns:
    """The current runs of proposals with many, for the board that was asked about last.

    Whether a run that has ended counts changes with the state alone. So the ended runs at the front are looked at once.
    """

    def __init__(self) -> None:
        self._kept: tuple[object, dict[str, tuple[_State, int, list[Run]]]] = (None, {})

    def of(
        self,
        board: object,
        state: _State,
        tree: str,
        names: Sequence[str],
        runs: Mapping[str, Run],
        is_current: Callable[[Run], bool],
    ) -> list[Run]:
        """Return the runs of a proposal that count, in their order.

        Args:
            board: the board.
            state: what says which ended runs count.
            tree: the proposal.
            names: the names of its runs.
            runs: the runs of the board.
            is_current: tells whether a run counts.
        """
        kept = self._kept  # one name for both, because another thread may ask about another board
        if board is not kept[0] or len(kept[1]) > _MOST:
            kept = self._kept = (board, {})
        before, count, found = kept[1].get(tree, (state, 0, []))
        if before != state:
            count, found = 0, []
        later = list(map(runs.__getitem__, names[count:]))
        ended = next((place for place, run in enumerate(later) if not run.finished), len(later))
        found = [*found, *filter(is_current, later[:ended])] if ended else found
        kept[1][tree] = (state, count + ended, found)
        return [*found, *filter(is_current, later[ended:])]
