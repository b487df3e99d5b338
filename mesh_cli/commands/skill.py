"""`mesh skill`: how an agent takes part, as a file that agents read."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import app
from mesh_cli.exit import run


@app.command
def skill(
    *,
    install: Annotated[
        Path | None,
        Parameter(
            help="Write it into a folder of skills, such as .claude/skills or .agents/skills; default: print it."
        ),
    ] = None,
) -> int:
    """Print how an agent takes part, as a skill (SKILL.md), or install it for agents that look for skills.

    Example: mesh skill --install .claude/skills
    """

    async def work() -> None:
        from mesh_cli.skills import install as write
        from mesh_cli.skills import skill_text

        print(write(install) if install else skill_text(), end="\n" if install else "")

    return run(work)
