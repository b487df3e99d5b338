"""`mesh git`: the code of the swarm as a git repository."""

from pathlib import Path

from cyclopts import App

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run

git = App(name="git", help="Take out the code of the swarm as a git repository.")
app.command(git)


@git.command
def export(folder: Path, *, arena: ArenaOption = None, nats: Nats = None) -> int:
    """Write all proposals as an ordinary git repository: a ref for each, the champion checked out.

    Example: mesh git export /tmp/nanolm
    """

    async def work() -> None:
        from mesh_cli.connect import reach
        from mesh_cli.history.git_export import export as write

        async with reach(arena, nats) as bus:
            count = await write(bus, folder)
        print(f"{count} proposals in {folder}; see them with: git -C {folder} log --all --graph --oneline")

    return run(work)
