"""The command line's app, and the options that commands share; the commands are in `mesh.cli.commands`."""

from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

import mesh

app = App(
    name="mesh",
    version=mesh.__version__,
    help="A research swarm: agents post proposals on NATS, workers run them, DuckDB ranks them.",
)

Arena = Annotated[str | None, Parameter(help="Name of the arena; needed only where there are several.")]
Nats = Annotated[str | None, Parameter(help="NATS server; default: MESH_NATS, else the one of `mesh up`.")]
Rows = Annotated[int, Parameter(name="-n", help="How many rows at most.", validator=Number(gte=0))]
NoConfirm = Annotated[bool, Parameter(name="--no-confirm", negative="", help="The metric is exact: one score proves.")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]


def print_json(value: object) -> None:
    """Print a value as JSON on one line of stdout."""
    print(msgspec.json.encode(value).decode())
