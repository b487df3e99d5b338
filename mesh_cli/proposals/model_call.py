"""The model call that led to a fact: its prompt and answer, for `mesh show`."""

from collections.abc import Iterator
from typing import Any

from mesh.errors import BadInput, ObjectMissing
from mesh.events import CritiquePosted, KeptCall, ModelAsked, ProposalPosted
from mesh.model_calls import ModelCall
from mesh.text import printable, visible
from mesh.wire import Entry

FIRST_LINES = 3
"""Lines of a prompt and of an answer that a short form shows."""


def call_of(entry: Entry) -> KeptCall | None:
    """Return what a fact says of its model call; None if it has none, or none was kept."""
    event = entry.post.event if entry.post else None
    return event.call if isinstance(event, ProposalPosted | CritiquePosted | ModelAsked) else None


def call_lines(call: dict[str, Any]) -> Iterator[str]:
    """Return the short form of a call: model, parameters, sizes and the first lines of each text."""
    if "missing" in call:
        yield f"model call: {call['missing']}"
        return
    given = ", ".join(
        f"{printable(name, 40)} {printable(str(value), 60)}" for name, value in call["parameters"].items()
    )
    yield f"model call: {printable(call['model'], 80)}{f' ({given})' if given else ''}"
    yield from _begin("prompt", call["prompt_bytes"], ModelCall(model="", messages=call["messages"]).prompt)
    if call["trouble"]:
        yield f"  no answer: {printable(call['trouble'], 300)}"
    if call["answer"] or call["thoughts"]:
        yield from _begin("answer", call["answer_bytes"], call["answer"] or call["thoughts"])
    yield f"  whole: mesh show {call['seq']} --prompt, mesh show {call['seq']} --answer"


def call_text(call: dict[str, Any], what: str) -> str:
    """Return the whole prompt, or the whole answer with what the model thought, safe for a terminal.

    Raises:
        ObjectMissing: it is not kept any more.
    """
    if "missing" in call:
        raise ObjectMissing(f"the {what} of fact #{call['seq']} is gone: {call['missing']}")
    if what == "prompt":
        return visible(ModelCall(model="", messages=call["messages"]).prompt, keep="\n\t")
    thoughts = f"# thoughts\n\n{call['thoughts']}\n\n# answer\n\n" if call["thoughts"] else ""
    return visible(f"{thoughts}{call['answer'] or call['trouble']}", keep="\n\t")


def no_call(words: str) -> BadInput:
    """Return the error for something that no model call led to."""
    return BadInput(
        f"{words} has no kept model call; name a proposal or critique of a model, or a fact of kind model.asked "
        "(mesh tail --kind model.asked lists them)"
    )


def _begin(what: str, size: int, text: str) -> Iterator[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    yield f"  {what}, {size:,} bytes:"
    yield from (f"    | {printable(line, 160)}" for line in lines[:FIRST_LINES])
    if len(lines) > FIRST_LINES:
        yield f"    | … {len(lines) - FIRST_LINES:,} more"
