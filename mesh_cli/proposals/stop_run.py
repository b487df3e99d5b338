"""Which run `mesh kill` stops: one that is neither finished nor stopped already. Pure."""

from mesh.board import Board
from mesh.errors import BadInput, UnknownName
from mesh.outcomes import how_it_ended


def find_unfinished(board: Board, word: str) -> str:
    """Return the name of the run that `word` names, in full or by its start.

    Raises:
        BadInput: the run is finished or stopped already.
        UnknownName: it matches no run, or several that are not finished.
    """
    plain = word.removeprefix("run:")
    matches = [plain] if plain in board.runs else [name for name in board.runs if plain and name.startswith(plain)]
    if not matches:
        raise UnknownName(f"no run of arena {board.arena} starts with {plain[:60]!r}; mesh status shows what runs")
    unfinished = [name for name in matches if not board.runs[name].finished and not board.runs[name].killed]
    if len(unfinished) > 1:
        listed = ", ".join(unfinished[:5]) + (f" and {len(unfinished) - 5} more" if len(unfinished) > 5 else "")
        raise UnknownName(f"{len(unfinished)} unfinished runs start with {plain!r}: {listed}; write more of the name")
    if not unfinished:
        finished = board.runs[matches[0]].finished
        state = how_it_ended(finished.outcome) if finished else "stopped already"
        raise BadInput(f"run {matches[0]} is {state}; only a run that waits or runs can be stopped")
    return unfinished[0]
