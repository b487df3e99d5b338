"""The Python client: `mesh.connect` opens an arena for a script, a notebook or an optimiser.

It puts the functions of `gateway` together with SQL and the knobs, as `mesh_cli` does for a terminal; it has no rules
of its own. `aclient` is the client of an event loop, `client` that of a plain script, which runs the other in a thread.
"""

from mesh_client.aclient import AsyncClient
from mesh_client.client import Client
from mesh_client.opening import aconnect, connect
from mesh_client.rows import SqlRows

__all__ = ["AsyncClient", "Client", "SqlRows", "aconnect", "connect"]
