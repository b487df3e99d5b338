"""`mesh snapshot` and `replay`: the logs as a DuckDB file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Nats, app
from mesh_cli.exit import run

if TYPE_CHECKING:
    from mesh_cli.history.snapshot import Parquet

ParquetFolder = Annotated[Path | None, Parameter(help="Also write every view to a parquet file in this folder.")]
ByDay = Annotated[
    bool,
    Parameter(
        name="--by-day",
        negative="",
        help="Write the parquet files by arena and day (VIEW/arena=…/day=…), and only those that changed.",
    ),
]


@app.command
def snapshot(
    file: Path,
    *,
    every: Annotated[str | None, Parameter(help="Repeat at this interval (30s, 5m) until Ctrl-C.")] = None,
    parquet: ParquetFolder = None,
    by_day: ByDay = False,
    nats: Nats = None,
) -> int:
    """Write all logs to a DuckDB file that other programs can open while the swarm runs.

    Example: mesh snapshot /tmp/mesh.duckdb --every 30s
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh.times import seconds
        from mesh_cli.connect import reach_hub
        from mesh_cli.history.snapshot import publish

        pause_s = seconds(every) if every is not None else None
        if pause_s is not None and pause_s < 0.1:
            raise BadInput(f"--every {every} is too often for the disk; use 100ms or more")
        async with reach_hub(nats) as hub:
            await publish(hub, file, _files(parquet, by_day), pause_s)

    return run(work, endless=every is not None)


@app.command
def replay(
    file: Path,
    *,
    to_seq: Annotated[int | None, Parameter(help="Stop after this sequence number.", validator=Number(gte=0))] = None,
    to_time: Annotated[
        str | None, Parameter(help="Stop after this time: an ISO time (UTC), or this long ago (2h).")
    ] = None,
    parquet: ParquetFolder = None,
    by_day: ByDay = False,
    arena: ArenaOption = None,
    nats: Nats = None,
) -> int:
    """Write one log up to an entry or a time to a DuckDB file, and print the last sequence number in it.

    Example: mesh replay /tmp/then.duckdb --to-seq 1000
    """

    async def work() -> None:
        from mesh.errors import BadInput
        from mesh.times import moment
        from mesh_cli.connect import reach
        from mesh_cli.history.snapshot import replay_to

        if to_seq is not None and to_time is not None:
            raise BadInput("--to-seq and --to-time exclude each other; use one of them")
        time = moment(to_time) if to_time is not None else None
        async with reach(arena, nats) as bus:
            print(await replay_to(bus, file, _files(parquet, by_day), seq=to_seq, time=time))

    return run(work)


def _files(folder: Path | None, by_day: bool) -> "Parquet | None":
    from mesh.errors import BadInput
    from mesh_cli.history.snapshot import Parquet

    if by_day and folder is None:
        raise BadInput("--by-day says how parquet files are written; name their folder with --parquet DIR")
    return None if folder is None else Parquet(folder, by_day)
