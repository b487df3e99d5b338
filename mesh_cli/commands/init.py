"""`mesh init`: an `arena.toml` for a folder of yours."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import app
from mesh_cli.exit import run


@app.command
def init(
    folder: Annotated[
        Path, Parameter(help="The folder of your script or program; default: this folder.", show_default=False)
    ] = Path(),
    *,
    editable: Annotated[
        list[str] | None, Parameter(help="File, folder/ or pattern that may change. May be repeated.")
    ] = None,
    run_: Annotated[str | None, Parameter(name="--run", help="The command that runs it, as you type it.")] = None,
    budget: Annotated[
        float | None,
        Parameter(name=["--budget", "--run-seconds"], help="Seconds that a run may use.", validator=Number(gt=0)),
    ] = None,
    metric: Annotated[str | None, Parameter(help="Name of the number to improve, as it is printed.")] = None,
    direction: Annotated[Literal["min", "max"] | None, Parameter(help="Which way that number is better.")] = None,
    pattern: Annotated[
        str | None, Parameter(help="Regular expression with one group around the number in what a run prints.")
    ] = None,
    file: Annotated[
        str | None, Parameter(help="A run writes the number into this file: out/metrics.json:test.f1.")
    ] = None,
    scorer: Annotated[
        str | None, Parameter(help="This command scores a finished run; its last line is a JSON object.")
    ] = None,
    environment: Annotated[
        str | None,
        Parameter(help="Run it in this environment (venv, interpreter, requirements.txt, uv.lock); none: the mesh's."),
    ] = None,
    yes: Annotated[bool, Parameter(negative="", help="Take the guesses without asking.")] = False,
    force: Annotated[
        bool, Parameter(negative="", help="Write another arena.toml where there is one, and keep that as a copy.")
    ] = False,
) -> int:
    """Look at a folder, ask what may change, how it is run and how it is scored, and write its arena.toml.

    Example: mesh init . --yes
    """

    async def work() -> None:
        from mesh_cli.setup.init_arena import ask_person, init_arena
        from mesh_cli.setup.init_plan import InitWish

        wish = InitWish(
            editable=tuple(editable or ()),
            run=run_ or "",
            budget_s=budget or 0.0,
            metric=metric or "",
            direction="" if direction is None else "minimize" if direction == "min" else "maximize",
            pattern=pattern or "",
            file=file or "",
            scorer=scorer or "",
            environment=environment or "",
            yes=yes,
            force=force,
        )
        is_terminal = bool(sys.stdin and sys.stdin.isatty() and sys.stderr.isatty())
        init_arena(folder, wish, ask_person if is_terminal and not yes else None, lambda line: print(line, flush=True))
        here = "" if folder == Path() else f" {folder}"
        print(f"next: mesh check{here}   (a dry run), then: mesh up{here} --minutes 10")

    return run(work)
