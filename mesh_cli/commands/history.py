"""`mesh snapshot`, `replay`, `import` and `export`: the history as a database or a file of one's own, and from one."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import Arena, Nats, app
from mesh_cli.exit import run

Parquet = Annotated[Path | None, Parameter(help="A folder: also write every view to a parquet file there.")]


@app.command
def snapshot(
    file: Path,
    *,
    every: Annotated[str | None, Parameter(help="Again and again, so often: 30s, 5m; until Ctrl-C.")] = None,
    parquet: Parquet = None,
    nats: Nats = None,
) -> int:
    """Publish all logs as a DuckDB file that any program may open while the swarm runs.

    Example: mesh snapshot /tmp/mesh.duckdb --every 30s
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh.times import seconds
        from mesh_cli.connect import reach_hub
        from mesh_cli.history.snapshot import publish

        pause_s = seconds(every) if every is not None else None
        if pause_s is not None and pause_s < 0.1:
            raise BadInput(f"--every {every} leaves the disk no rest: at least 100ms")
        async with reach_hub(nats) as hub:
            await publish(hub, file, parquet, pause_s)

    return run(work, endless=every is not None)


@app.command
def replay(
    file: Path,
    *,
    to_seq: Annotated[int | None, Parameter(help="Up to this entry.", validator=Number(gte=0))] = None,
    to_time: Annotated[str | None, Parameter(help="Up to this time (ISO 8601; UTC where it names no zone).")] = None,
    parquet: Parquet = None,
    arena: Arena = None,
    nats: Nats = None,
) -> int:
    """Fold one log, or its beginning, into a DuckDB file: the rankings as of then. Prints the sequence reached.

    Example: mesh replay /tmp/then.duckdb --to-seq 1000
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh.times import moment
        from mesh_cli.connect import reach
        from mesh_cli.history.snapshot import replay_to

        if to_seq is not None and to_time is not None:
            raise BadInput("--to-seq and --to-time exclude each other")
        time = moment(to_time) if to_time is not None else None
        async with reach(arena, nats) as bus:
            print(await replay_to(bus, file, parquet, seq=to_seq, time=time))

    return run(work)


@app.command(name="import")
def import_(
    file: Path,
    *,
    repo: Annotated[Path | None, Parameter(help="The git repository whose commits the file names.")] = None,
    name: Annotated[str | None, Parameter(help="Name of the arena; default: that of the folder.")] = None,
    metric: Annotated[str | None, Parameter(help="Name of the metric; default: what the header says.")] = None,
    minimize: Annotated[bool, Parameter(negative="--maximize", help="Whether less is better.")] = True,
    nats: Nats = None,
) -> int:
    """Take the results.tsv of karpathy/autoresearch as the history of a closed arena.

    Example: mesh import results.tsv --name autoresearch
    """

    async def work() -> None:
        from mesh_cli.connect import reach_hub
        from mesh_cli.history.import_tsv import Source, import_results, read

        source = Source(file, repo, name, metric, minimize)
        read(source)  # a malformed file makes no home
        async with reach_hub(nats, make=True) as hub:
            done = await import_results(hub, source)
        if done.lacking:
            print(f"mesh: {repo} lacks {done.lacking} of the commits: those have no code", file=sys.stderr)
        if done.new:
            print(f"arena {done.arena} has {done.rows} rows, {done.new} of them new")
        else:
            print(f"arena {done.arena} has all {done.rows} rows already: nothing was changed")

    return run(work)


@app.command
def export(file: Path, *, arena: Arena = None, nats: Nats = None) -> int:
    """Write the history of an arena as a results.tsv, the format of karpathy/autoresearch.

    Example: mesh export results.tsv --arena digits
    """

    async def work() -> None:
        from mesh_cli.connect import board_of, reach
        from mesh_cli.history.results_tsv import lines_of
        from mesh_cli.render.output import atomically

        async with reach(arena, nats) as bus:
            lines = lines_of(await board_of(bus))
        with atomically(file) as beside:
            beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
        print(f"{len(lines) - 1} rows in {file}", file=sys.stderr)

    return run(work)
