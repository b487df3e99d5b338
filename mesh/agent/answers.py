"""Checks the answers of a role: a list of facts and drafts. It refuses anything else in one sentence. Pure."""

from collections.abc import Sequence

from mesh.agent.draft import Draft
from mesh.agent.postable import check_fact, shown
from mesh.errors import BadInput
from mesh.events import KINDS, AnyEvent, Event, kind_of


def checked(answers: object, method: str) -> Sequence[AnyEvent | Draft]:
    """Return the answers of a role if they are a list of facts and drafts; None is an empty list.

    Args:
        answers: the return value of a method of the role.
        method: name of the method, such as `handle`.

    Raises:
        BadInput: the value is not such a list, or contains a fact that a role may not post.
    """
    if answers is None:
        return []
    if isinstance(answers, Event | Draft):
        name = type(answers).__name__
        raise BadInput(f"{method} returned one {name}; return a list of facts and drafts, such as [{name}(...)]")
    if isinstance(answers, str | bytes) or not isinstance(answers, Sequence):
        raise BadInput(f"{method} returned {shown(answers)}; return a list of facts and drafts")
    for answer in answers:
        if isinstance(answer, Event) and kind_of(answer) in KINDS:  # type: ignore[arg-type]
            check_fact(answer)  # type: ignore[arg-type]
        elif not isinstance(answer, Draft):
            allowed = "each item must be a fact of mesh.events, or a Draft"
            raise BadInput(f"{method} returned a list that contains {shown(answer)}; {allowed}")
    return answers
