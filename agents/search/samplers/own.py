"""A sampler of the user's own, `module:Class`, which the explorer asks in place of ours."""

from pathlib import Path

from agents.search.samplers.protocol import Sampler
from mesh.agent.roles import find_class, make, method_trouble
from mesh.errors import BadInput


def own_sampler(name: str, path: Path) -> Sampler:
    """Return a sampler made by `Class()`.

    Args:
        name: `module:Class`.
        path: the folder in which a module that is not installed is found.

    Raises:
        UnknownName: there is no such module or class.
        BadInput: the module cannot be imported, or the class is not a valid sampler.
    """
    found = find_class("sampler", name, path=path)
    wanted = "def ask(self, space, trials, pending, rng)"
    if not hasattr(found, "ask"):
        raise BadInput(f"sampler {name!r} is not a valid sampler: {found.__name__} has no 'ask'; write `{wanted}`")
    if trouble := method_trouble(found, "ask", "space, trials, pending, rng", is_async=False):
        raise BadInput(f"sampler {name!r} is not a valid sampler: {trouble}")
    sampler: Sampler = make("sampler", name, found)
    return sampler


def reason_of(sampler: Sampler) -> str:
    """Return the first line of a sampler's docstring: the rationale of what it proposes."""
    return next(iter((type(sampler).__doc__ or "").strip().splitlines()), "")
