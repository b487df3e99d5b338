"""`mesh version`: what runs here."""

import mesh
from mesh_cli.app import app
from mesh_cli.exit import run


@app.command
def version() -> int:
    """Show the version of the mesh and of the nats-server that it starts.

    Example: mesh version
    """

    async def work() -> None:
        import subprocess

        import anyio

        from mesh.server import find_binary

        print(f"mesh {mesh.__version__}")
        done = await anyio.run_process([find_binary(), "--version"], stderr=subprocess.STDOUT)
        print(done.stdout.decode().strip())

    return run(work)
