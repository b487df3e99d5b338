"""`mesh import`: the results of another loop as the history of an arena."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from mesh_cli.app import Nats, RunSeconds, TaskPython, app
from mesh_cli.exit import ExitCode, run

if TYPE_CHECKING:
    from mesh_cli.history.import_results import Imported, Source


@app.command(name="import")
def import_(
    file: Path,
    *,
    repo: Annotated[Path | None, Parameter(help="Read the code of the commits from this git repository.")] = None,
    name: Annotated[str | None, Parameter(help="Name of the new arena; default: the name of the folder.")] = None,
    metric: Annotated[
        str | None, Parameter(help="Column of the metric (nested JSON: a.b), or its name where the column is metric.")
    ] = None,
    direction: Annotated[
        Literal["minimize", "maximize"] | None, Parameter(help="Whether lower or higher values are better.")
    ] = None,
    id_: Annotated[str | None, Parameter(name="--id", help="Column with the names of the experiments.")] = None,
    status: Annotated[str | None, Parameter(help="Column that says what was kept; - for none.")] = None,
    text: Annotated[str | None, Parameter(help="Column that says what was tried.")] = None,
    columns: Annotated[
        str | None, Parameter(help="Names of all columns, with commas, where the file has no header; - leaves one out.")
    ] = None,
    open_: Annotated[
        Path | None,
        Parameter(
            name="--open",
            help="Make the history the beginning of the arena in this folder, and open it; an autoresearch loop there "
            "gets its arena.toml, as from mesh up.",
        ),
    ] = None,
    run_seconds: RunSeconds = None,
    environment: TaskPython = None,
    yes: Annotated[bool, Parameter(negative="", help="Import without asking.")] = False,
    nats: Nats = None,
) -> int:
    """Import the results of another loop (tsv, csv, JSON lines, a table in Markdown) as a closed arena.

    Example: mesh import results.tsv --name autoresearch --yes
    """

    def source() -> "Source":
        from mesh.errors import BadInput
        from mesh_cli.arenas import told_loop
        from mesh_cli.history.import_results import Source
        from mesh_cli.history.result_columns import AskedColumns
        from mesh_cli.setup.own_environment import agree_on_environment

        named = tuple(word.strip() for word in columns.split(",")) if columns else ()
        if open_ is None and (run_seconds or environment):
            raise BadInput("--run-seconds and --environment are for the folder of --open FOLDER: add it")
        live = told_loop(open_, metric, direction, run_seconds) if open_ else None
        if live:
            agree_on_environment(live, environment)
        return Source(file, repo, name, AskedColumns(id_, metric, status, text), named, direction, live)

    async def work() -> None:
        from mesh import settings
        from mesh.open_arena import open_arena
        from mesh_cli.connect import reach_hub
        from mesh_cli.history.import_results import import_results

        async with reach_hub(nats, make=True) as hub:
            done = await import_results(hub, found)
            _tell(done, repo)
            if found.live:
                _, opened = await open_arena(hub, found.live, home=settings.home())
                print(f"arena {opened.spec.name} is open, version {opened.version}: mesh up {open_} goes on from there")

    found: Source

    async def look() -> None:
        nonlocal found
        found = source()
        agreed.append(_agree(found, yes=yes))

    agreed: list[bool] = []
    if (code := run(look)) or not agreed[0]:  # a malformed file, or a no, makes no home
        return code or ExitCode.FAILED
    return run(work)


def _agree(source: "Source", *, yes: bool) -> bool:
    """Show what the import will do, and ask.

    Raises:
        BadInput: the file cannot be read, or there is no terminal to ask at.
    """
    from mesh.errors import BadInput
    from mesh_cli.history.import_results import read_import
    from mesh_cli.history.import_words import mapping_lines

    spec, history = read_import(source)
    for line in mapping_lines(history, source):
        print(line, file=sys.stderr)
    if yes:
        return True
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(
            f"nothing was imported: this would make arena {spec.name} of {len(history.rows)} experiments; add --yes to "
            "import them so, or correct it with --metric, --direction, --id, --status or --text"
        )
    print(f"Import this as arena {spec.name}? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was imported", file=sys.stderr)
    return False


def _tell(done: "Imported", repo: Path | None) -> None:
    if done.lacking and repo:
        print(
            f"mesh: {repo} does not have {done.lacking} of the commits: these proposals have no code", file=sys.stderr
        )
    if done.misfits:
        print(f"mesh: {done.misfits} diffs do not fit: these proposals have no code", file=sys.stderr)
    if done.new:
        print(f"arena {done.arena} has {done.rows} rows, {done.new} of them new")
    else:
        print(f"arena {done.arena} already has all {done.rows} rows: nothing was changed")
