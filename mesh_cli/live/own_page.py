"""The live page of `mesh up --web`: a `mesh web` as a child, which goes on after the end of the swarm.

Start it when the swarm's projector answers, because a page without one becomes the projector. Where the swarm serves
the store of its home itself, the page serves it afterwards.
"""

import importlib.util
import os
import sys
from pathlib import Path

import anyio

from mesh.errors import BadInput
from mesh.safe_path import PYTHON
from mesh_cli.live.children import Children
from mesh_cli.page_port import page_port

_HOST = "127.0.0.1"
_LOOK_EVERY_S = 0.3


class OwnPage:
    """The page of one arena; `url` is "" until it answers."""

    def __init__(self, home: Path, nats: str) -> None:
        """Take the home, and the server that the user named ("": the home's own).

        Raises:
            BadInput: a package of the page is not installed.
        """
        for package in ("uvicorn", "starlette"):
            if importlib.util.find_spec(package) is None:
                raise BadInput(
                    f"--web needs {package}, which is not installed: pip install 'mesh-swarm[web,analytics]'"
                )
        self._home, self._nats, self.url = home, nats, ""

    async def keep(self, arena: str) -> None:
        """Serve the page of an arena until cancelled."""
        port = page_port(self._home, _HOST)
        env = {name: value for name, value in os.environ.items() if name != "MESH_NATS"}
        env |= {"MESH_HOME": str(self._home), "MESH_PARENT": "stdin"}
        if self._nats:
            env["MESH_NATS"] = self._nats
        children = Children(self._home, env)
        command = [*PYTHON, "mesh_cli", "web", "--arena", arena, "--host", _HOST, "--port", str(port)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(children.keep, "web", command)
            while True:
                try:
                    stream = await anyio.connect_tcp(_HOST, port)
                except OSError:
                    await anyio.sleep(_LOOK_EVERY_S)
                    continue
                await stream.aclose()
                break
            self.url = f"http://{_HOST}:{port}/"
            print(f"mesh: live page {self.url}", file=sys.stderr, flush=True)
