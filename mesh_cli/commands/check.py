"""`mesh check`: does an arena work here, and do cheating artifacts get what they should."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import Folder, Json, MetricDirection, MetricName, RunSeconds, TaskPython, app, print_json
from mesh_cli.exit import ExitCode, run


@app.command
def check(
    folder: Folder = Path(),
    *,
    metric: MetricName = None,
    direction: MetricDirection = None,
    run_seconds: RunSeconds = None,
    environment: TaskPython = None,
    attacks: Annotated[
        bool, Parameter(negative="", help="Run the arena's attacks too; fail if one gets what it should not.")
    ] = False,
    seeds: Annotated[int, Parameter(help="Run the baseline on this many seeds.", validator=Number(gte=1))] = 2,
    slots: Annotated[
        int | None,
        Parameter(
            help="Run this many trials at a time; default: as many as fit on this machine.", validator=Number(gte=1)
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Parameter(help="Where to run trials; auto uses a GPU if there is one.")
    ] = "auto",
    sandbox: Annotated[Literal["auto", "weak", "none"], Parameter(help="How strictly to sandbox trials.")] = "auto",
    json: Json = False,
) -> int:
    """Try an arena: open it, run its baseline by a real worker, and say what is odd; nothing is kept.

    It shows score, noise, seconds of a run, files, knobs with their ranges. With --attacks it runs cheating artifacts.

    Example: mesh check digits --attacks
    """
    import anyio.to_thread

    from mesh_cli.arenas import loop_wish, told_folder
    from mesh_cli.setup.own_environment import agree_on_environment

    failed = False

    async def work() -> None:
        nonlocal failed
        from mesh_cli.render.colour import Ink, is_coloured
        from mesh_cli.render.columns import width_of_output
        from mesh_cli.setup.check_arena import check_arena
        from mesh_cli.setup.check_view import check_lines, check_problems

        found = told_folder(folder, wish=loop_wish(metric, direction, run_seconds))
        await anyio.to_thread.run_sync(agree_on_environment, found, environment, abandon_on_cancel=True)
        done = await check_arena(
            found,
            attacks=attacks,
            seeds=seeds,
            slots=slots,
            device=device,
            sandbox=sandbox,
            say=lambda sentence: print(sentence, file=sys.stderr, flush=True),
        )
        if json:
            print_json(done)
        else:
            print("\n".join(check_lines(done, width_of_output(), Ink(is_coloured()))), flush=True)
        for sentence in check_problems(done):
            print(f"mesh: {sentence}", file=sys.stderr)
            failed = True

    code = run(work)
    return code or (ExitCode.FAILED if failed else ExitCode.OK)
