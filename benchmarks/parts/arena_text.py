"""The `arena.toml` of an arena that is made for a benchmark: one program, `train.py`, and a loss to make smaller."""

SCORE_OF_COMMAND = """
how = "command"
command = ["python", "score.py"]
"""
SCORE_OF_OUTPUT = r"""
how = "stdout"
pattern = 'loss: (\S+)'
"""


def arena_text(name: str, budget_s: float, deadline_s: float, *, trial: str = "", score: str = SCORE_OF_COMMAND) -> str:
    """Return the text of `arena.toml`.

    Args:
        name: The arena's name.
        budget_s: Seconds that a trial may take.
        deadline_s: Wall seconds after which a trial is killed.
        trial: Further lines of the table `trial`.
        score: The lines of the table `score`.
    """
    return f"""
[arena]
name = "{name}"
[objective]
metric = "loss"
direction = "minimize"
[artifact]
editable = ["train.py"]
[trial]
command = ["python", "train.py"]
budget_s = {budget_s}
deadline_s = {deadline_s}
{trial}
[score]
{score}
"""
