"""The Python client: `mesh.connect` opens an arena for a script, a notebook or an optimiser.

It puts the functions of `gateway` together with SQL and the knobs, as `mesh_cli` does for a terminal; it has no rules
of its own. `aclient` is the client of an event loop, `client` that of a plain script, which runs the other in a thread.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mesh_client.aclient import AsyncClient
from mesh_client.client import Client
from mesh_client.opening import aconnect, connect
from mesh_client.rows import SqlRows

if TYPE_CHECKING:
    from mesh_client.astudy import AsyncStudy as AsyncStudy
    from mesh_client.astudy import StudyTrial as StudyTrial
    from mesh_client.optimising import Optimiser as Optimiser
    from mesh_client.optimising import optimise as optimise
    from mesh_client.study import Study as Study

__all__ = ["AsyncClient", "Client", "SqlRows", "aconnect", "connect"]

_STUDY = {
    "AsyncStudy": "astudy",
    "Optimiser": "optimising",
    "Study": "study",
    "StudyTrial": "astudy",
    "optimise": "optimising",
}
"""Names of the part for optimisers, with their modules."""


def __getattr__(name: str) -> Any:
    """Return a name of the part for optimisers, whose samplers take a while to load."""
    if name not in _STUDY:
        raise AttributeError(f"module 'mesh_client' has no attribute {name!r}")
    module = import_module(f"{__name__}.{_STUDY[name]}")
    return getattr(module, name)
