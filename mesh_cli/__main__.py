"""The composition root: `mesh`, with every command in its place.

Importing a module of `mesh_cli.commands` joins its commands to the app; `ORDER` is the order of `mesh --help`.
"""

import os
import sys

try:
    import mesh.safe_path  # before all others

    if not os.path.samefile(mesh.__path__[0], os.path.join(os.path.dirname(__file__), os.pardir, "mesh")):
        raise ModuleNotFoundError(name="mesh.safe_path")  # an editable install finds our modules in any package
except ModuleNotFoundError as error:
    if error.name != "mesh.safe_path":
        raise
    where = next(iter(sys.modules["mesh"].__path__))
    print(
        f"mesh: Python imports another package called mesh, at {where}, instead of ours: install mesh-swarm into a "
        "separate environment (python -m venv .venv; .venv/bin/pip install 'mesh-swarm[up]')",
        file=sys.stderr,
    )
    sys.exit(2)

# isort: split

import io

from cyclopts import CycloptsError, Group

from mesh.errors import MeshError
from mesh_cli.app import app
from mesh_cli.commands import (  # noqa: F401  they join the app
    apply,
    budget,
    channels,
    check,
    checkout,
    close,
    code,
    compact,
    completion,
    config,
    context,
    critique,
    diff,
    digest,
    doctor,
    export,
    gateway,
    git,
    hub,
    hub_backup,
    hub_members,
    hub_start,
    import_,
    init,
    join,
    kill,
    leaderboard,
    lineage,
    mcp,
    new,
    open_,
    post,
    prices,
    propose,
    rent,
    report,
    show,
    skill,
    snapshot,
    sql,
    status,
    tail,
    top,
    up,
    version,
    wait,
    web,
)
from mesh_cli.exit import ExitCode, exit_code_of

__all__ = ["ORDER", "app", "main"]

ORDER: dict[str, tuple[str, ...]] = {
    "Start": ("up", "init", "check", "new", "open", "close", "budget", "doctor"),
    "Watch": ("status", "tail", "top", "web"),
    "Look closer": ("leaderboard", "show", "diff", "code", "lineage", "children", "leaves", "report"),
    "Ask": ("sql",),
    "Rent": ("prices", "rent"),
    "Take part": (
        "digest",
        "checkout",
        "propose",
        "wait",
        "kill",
        "critique",
        "post",
        "reply",
        "channels",
        "skill",
        "mcp",
        "gateway",
        "hub",
        "join",
        "renew",
    ),
    "Take out and bring in": ("apply", "git", "export", "import", "snapshot", "replay", "compact"),
    "Settings": ("context", "config", "completion", "version"),
}
"""The groups of `mesh --help` with their commands, in the order in which a newcomer needs them."""


def _arrange() -> None:
    """Put every command into its group; options come last."""
    for title, names in ORDER.items():
        group = Group.create_ordered(title)
        for place, name in enumerate(names):
            app[name].group = group
            app[name].sort_key = place
    options = Group.create_ordered("Options")
    for flag in ("--help", "--version"):
        app[flag].group = options


def main(words: list[str] | None = None) -> None:
    """Run a command; an expected error is one sentence on stderr and an exit code of `mesh_cli.exit`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            ended = app(words, exit_on_error=False, print_error=False)
        finally:
            sys.stdout.flush()
        sys.exit(ended)
    except (MeshError, OSError) as error:
        if (ended := exit_code_of(error)) is None:
            raise
        sys.exit(ended)
    except CycloptsError as error:
        print(f"mesh: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(ExitCode.BAD_INPUT)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


_arrange()

if __name__ == "__main__":
    main()
