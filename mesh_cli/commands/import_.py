"""`mesh import`: a `results.tsv` as the history of an arena."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import Nats, app
from mesh_cli.exit import run


@app.command(name="import")
def import_(
    file: Path,
    *,
    repo: Annotated[Path | None, Parameter(help="Read the code of the commits from this git repository.")] = None,
    name: Annotated[str | None, Parameter(help="Name of the new arena; default: the name of the folder.")] = None,
    metric: Annotated[str | None, Parameter(help="Name of the metric; default: the name in the header.")] = None,
    minimize: Annotated[
        bool, Parameter(negative="--maximize", help="Whether lower or higher values are better.")
    ] = True,
    nats: Nats = None,
) -> int:
    """Import a results.tsv of karpathy/autoresearch as a closed arena.

    Example: mesh import results.tsv --name autoresearch
    """

    async def work() -> None:
        from mesh_cli.connect import reach_hub
        from mesh_cli.history.import_tsv import Source, import_results, read_rows

        source = Source(file, repo, name, metric, minimize)
        read_rows(source)  # a malformed file makes no home
        async with reach_hub(nats, make=True) as hub:
            done = await import_results(hub, source)
        if done.lacking:
            print(
                f"mesh: {repo} does not have {done.lacking} of the commits: these proposals have no code",
                file=sys.stderr,
            )
        if done.new:
            print(f"arena {done.arena} has {done.rows} rows, {done.new} of them new")
        else:
            print(f"arena {done.arena} already has all {done.rows} rows: nothing was changed")

    return run(work)
