"""What is wrong with an answer, between the modules that read it."""

from mesh.text import visible


class Unusable(Exception):
    """Why an answer cannot be used: one sentence that says what to do instead. `parse_answer` turns it into a flaw."""


def one_line(text: str) -> str:
    """Return text of a model on one line, without marks of Markdown around it."""
    return " ".join(visible(text, instead=" ").split()).strip("*`\"' ")
