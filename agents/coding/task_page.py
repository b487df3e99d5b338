"""`TASK.md`: the rules, the move, what the swarm knows, and what became of the earlier tries. Pure."""

from collections.abc import Mapping, Sequence

from agents.coding.run_folder import OTHER
from agents.llm.digest import Files, digest
from agents.llm.prompt_files import prompt
from agents.search.samplers.protocol import Trial
from mesh.board import Board
from mesh.data_marks import tokens_of

_FRAME = 200
"""Tokens that are kept free for lines of ours."""


def task_page(
    board: Board,
    name: str,
    move: str,
    parents: Sequence[str],
    code: Mapping[str, Files],
    trials: Sequence[Trial],
    *,
    max_tokens: int,
    others: int = 0,
) -> str:
    """Return the text of a task.

    Args:
        board: the board of the arena.
        name: the coder.
        move: improve, recombine or simplify.
        parents: the proposals to change; the files of the first one are laid out.
        code: files by proposal.
        trials: the finished trials.
        max_tokens: the most tokens of the text.
        others: how many coders work beside this one.
    """
    rules, task = prompt("coder"), prompt(move)
    lines = ["Parent A is what lies in this folder."]
    if len(parents) > 1:
        lines.append(
            f"The editable files of parent B lie in the folder `{OTHER}`, to read; a change there is not used."
        )
    if others:
        who = "Another coding agent changes" if others == 1 else f"{others} other coding agents change"
        lines.append(f"{who} the same program at this moment: do not take the first idea that comes to mind.")
    room = max_tokens - tokens_of(rules) - tokens_of(task) - _FRAME
    known = digest(board, parents, code, trials, max_tokens=room, flaws=_earlier(board, name))
    return "\n\n".join([rules, task, "\n".join(lines), known]) + "\n"


def _earlier(board: Board, name: str) -> list[str]:
    """Return why the last runs of a coder came to nothing, the latest at the end."""
    failed = board.failed_calls.get(name)
    return [*failed.reasons, *([failed.trouble] if failed.trouble else [])] if failed else []
