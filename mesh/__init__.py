"""The mesh: an event-sourced research swarm (see README.md).

The Python client is loaded when it is first used:

    import mesh

    with mesh.connect("digits") as m:
        print(m.sql("FROM leaderboard").df())

This is the only place of the ground layer that knows a layer above, because `import mesh` is what a user types first
(docs/adr/0020). It imports nothing until a name of the client is used.
"""

TYPE_CHECKING = False  # type checkers take it for that of `typing`, which is slow to import
if TYPE_CHECKING:
    from typing import Any

    from mesh_client import AsyncClient as AsyncClient
    from mesh_client import Client as Client
    from mesh_client import StudyTrial as StudyTrial
    from mesh_client import aconnect as aconnect
    from mesh_client import connect as connect
    from mesh_client import optimise as optimise

__version__ = "0.2.0.dev0"

_CLIENT = ("AsyncClient", "Client", "StudyTrial", "aconnect", "connect", "optimise")


if not TYPE_CHECKING:  # else every name would be right

    def __getattr__(name: str) -> "Any":
        """Return a name of the Python client, which is loaded for it."""
        if name not in _CLIENT:
            raise AttributeError(f"module 'mesh' has no attribute {name!r}")
        import mesh_client

        return getattr(mesh_client, name)


def __dir__() -> list[str]:
    """Return the names of this module, with those of the client."""
    return sorted([*globals(), *_CLIENT])
