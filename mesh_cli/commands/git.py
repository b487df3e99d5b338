"""`mesh git` and `version`: the code that the swarm made, and the one that runs."""

from pathlib import Path

from cyclopts import App

import mesh
from mesh_cli.app import Arena, Nats, app
from mesh_cli.exit import run

git = App(name="git", help="The code of the swarm as a git repository.")
app.command(git)


@git.command
def export(folder: Path, *, arena: Arena = None, nats: Nats = None) -> int:
    """Write the whole DAG as an ordinary git repository, the champion checked out, a ref for every proposal.

    Example: mesh git export /tmp/nanolm
    """

    async def work() -> None:
        from mesh_cli.connect import reach
        from mesh_cli.history.git_export import export as write

        async with reach(arena, nats) as bus:
            count = await write(bus, folder)
        print(f"{count} proposals in {folder}; see them with: git -C {folder} log --all --graph --oneline")

    return run(work)


@app.command
def version() -> int:
    """Show the versions of the mesh and of the server it would start.

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
