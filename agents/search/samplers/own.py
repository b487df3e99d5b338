"""A user's sampler, `module:Class`, which the explorer uses instead of the built-in ones."""

from pathlib import Path

from agents.search.samplers.protocol import Sampler
from mesh.agent.roles import find_class, make, method_trouble
from mesh.errors import BadInput


def own_sampler(name: str, path: Path) -> Sampler:
    """Return a new sampler, made by `Class()`.

    Args:
        name: The sampler as `module:Class`.
        path: The folder to search for a module that is not installed.

    Raises:
        UnknownName: The module or class does not exist.
        BadInput: The module cannot be imported, or the class is not a valid sampler.
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
    """Return the first line of a sampler's docstring, which becomes the rationale of its proposals."""
    return next(iter((type(sampler).__doc__ or "").strip().splitlines()), "")
