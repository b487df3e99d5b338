"""What a score without noise is sure of, in words: exact on the cases of the arena, and no more. Pure.

Where every seed gives the same score, seeds are no evidence: thirty of them say what one says.
"""

from collections.abc import Callable

from mesh.board import Board
from mesh.events import Scored
from mesh.evidence import noise, shows_no_noise
from mesh.size_names import exact_number, is_result_name

SAYS_NOTHING = "it says nothing about others"


def exact_on(board: Board, shows_none: Callable[[Board, str], bool] | None = None) -> str:
    """Return on what the scores of an arena are exact, such as `exact on these 120 cases`; "" where they have noise.

    Args:
        board: The board of the arena.
        shows_none: Tells whether the scores of a worker class show no noise; by default from all scores of the board.
    """
    if board.opened is None or not board.champion or board.spec.objective.noise == "items":
        return ""
    runs = [run.finished for run in board.current_runs(board.champion) if run.finished and run.value is not None]
    if not runs:
        return ""
    of_class = runs[-1].worker_class
    if board.spec.objective.noise != "none" and not (shows_none or _shows_none)(board, of_class):
        return ""
    outcome = runs[-1].outcome
    numbers = outcome.metrics if isinstance(outcome, Scored) else {}
    counts = [(name, n) for name, n in numbers.items() if name.endswith("s") and is_result_name(name) and n > 1]
    whole = [(name, n) for name, n in counts if n == int(n) and name != board.spec.objective.metric]
    exact = "taken as exact" if board.spec.objective.noise == "none" else "exact"
    if len(whole) != 1:
        return f"{exact} on the same cases"
    [(name, count)] = whole
    return f"{exact} on these {exact_number(count)} {name.rpartition('_')[2]}"


def _shows_none(board: Board, worker_class: str) -> bool:
    return shows_no_noise(board, worker_class, noise(board, worker_class))


def exact_sentence(board: Board) -> str:
    """Return in a sentence what the champion's score is sure of, and what proves more; "" where scores have noise."""
    return exact_words(exact_on(board))


def exact_words(where: str) -> str:
    """Return the sentence of `exact_sentence`, of what `exact_on` says."""
    if not where:
        return ""
    return (
        f"the champion's score is {where}: more seeds give the same, and {SAYS_NOTHING}. Where the gain must hold for "
        'other cases, score each (noise = "items"), or hold cases out (docs/howto/hold-out.md)'
    )
