"""`mesh git` and `version`: the code that the swarm made, and the one that runs."""

from pathlib import Path

import anyio
from cyclopts import App

import mesh
from mesh.cli.app import Arena, Nats, app
from mesh.cli.run import run

git = App(name="git", help="The code of the swarm as a git repository.")
app.command(git)


@git.command
def export(folder: Path, *, arena: Arena = None, nats: Nats = None) -> int:
    """Write the whole DAG as an ordinary git repository, the champion checked out, a ref for every proposal.

    Example: mesh git export /tmp/nanolm
    """

    async def work() -> None:
        from mesh.cli.reach import board_of, code_of, reach
        from mesh.errors import BadInput

        async with reach(arena, nats) as bus:
            board, code = await board_of(bus), code_of(bus)
            if board.opened is None:
                raise BadInput(f"arena {bus.arena} was never opened")
            base = board.opened.base_commit
            refs = {"refs/heads/base": base}
            await code.pull(base)
            for tree, p in board.proposals.items():
                await code.pull(p.event.commit, base=base)
                refs[f"refs/proposals/{tree}"] = p.event.commit
            refs["HEAD"] = board.proposals[board.champion].event.commit if board.champion else base
            refs["refs/heads/champion"] = refs["HEAD"]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            code.export(folder, refs)
        except OSError as error:
            raise BadInput(f"{folder} cannot be written: {error.strerror}" if error.errno else str(error)) from None
        print(
            f"{len(board.proposals)} proposals in {folder}; see them with: git -C {folder} log --all --graph --oneline"
        )

    return run(work)


@app.command
def version() -> int:
    """Show the versions of the mesh and of the server it would start.

    Example: mesh version
    """

    async def work() -> None:
        import subprocess

        from mesh.server import find_binary

        print(f"mesh {mesh.__version__}")
        done = await anyio.run_process([find_binary(), "--version"], stderr=subprocess.STDOUT)
        print(done.stdout.decode().strip())

    return run(work)
