"""`mesh completion`: a script for a shell."""

import sys
from typing import Literal

from mesh_cli.app import app
from mesh_cli.exit import run


@app.command
def completion(shell: Literal["bash", "zsh", "fish"]) -> int:
    """Print the completion script for a shell; docs/cli.md says where to put it.

    Example: mesh completion bash
    """

    async def work() -> None:
        sys.stdout.write(app.generate_completion(prog_name="mesh", shell=shell))

    return run(work)
