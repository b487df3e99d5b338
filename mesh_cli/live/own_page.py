"""The live page of `mesh up --web`: a `mesh web` as a child, which goes on after the end of the swarm.

With `--gateway` it is a `mesh gateway`, which has the page too.

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
    """The page of one arena; `url` is "" until it answers, and `what` says what is there."""

    def __init__(self, home: Path, nats: str, *, gateway: bool = False) -> None:
        """Take the home, and the server that the user named ("": the home's own).

        With `gateway` agents of others can take part there too.

        Raises:
            BadInput: a package of the page is not installed.
        """
        for package in ("uvicorn", "starlette"):
            if importlib.util.find_spec(package) is None:
                option = "--gateway" if gateway else "--web"
                raise BadInput(
                    f"{option} needs {package}, which is not installed: pip install 'mesh-swarm[web,analytics]'"
                )
        self._home, self._nats, self._gateway = home, nats, gateway
        self.url = ""
        self.what = "gateway" if gateway else "live page"

    async def keep(self, arena: str) -> None:
        """Serve the page of an arena until cancelled."""
        port = page_port(self._home, _HOST)
        env = {name: value for name, value in os.environ.items() if name != "MESH_NATS"}
        env |= {"MESH_HOME": str(self._home), "MESH_PARENT": "stdin"}
        if self._nats:
            env["MESH_NATS"] = self._nats
        children = Children(self._home, env)
        if self._gateway:
            words = ["gateway", "--arena", arena, "--listen", f"{_HOST}:{port}"]
        else:
            words = ["web", "--arena", arena, "--host", _HOST, "--port", str(port)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(children.keep, words[0], [*PYTHON, "mesh_cli", *words])
            while True:
                try:
                    stream = await anyio.connect_tcp(_HOST, port)
                except OSError:
                    await anyio.sleep(_LOOK_EVERY_S)
                    continue
                await stream.aclose()
                break
            self.url = f"http://{_HOST}:{port}/"
            hint = f", for agents HUB={self.url.rstrip('/')}" if self._gateway else ""
            print(f"mesh: {self.what} {self.url}{hint}", file=sys.stderr, flush=True)
