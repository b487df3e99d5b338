"""The command line's app, and the options that commands share; the commands are in `mesh_cli.commands`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter, Token
from cyclopts.argument import ArgumentCollection
from cyclopts.validators import Number

import mesh

OTHER_FORMS = ("--csv", "--format", "--dot")
"""Options for other formats than text and JSON."""


def print_as_configured(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let a listing print JSON if the setting `output` says so and no option chooses another format."""
    named = {argument.name: argument for argument in arguments}
    json = named.get("--json")
    if json is None or any(named[name].tokens for name in ("--json", *OTHER_FORMS) if name in named):
        return
    from mesh import settings
    from mesh.errors import BadInput

    try:
        output = settings.values()["output"]
    except BadInput:
        return  # the command itself reports it, and `mesh doctor` reports it with its cure
    if output.value == "json":
        json.append(Token(keyword="output", value="true", source=output.source))


app = App(
    name="mesh",
    version=mesh.__version__,
    help_format="plaintext",  # as markdown, it costs the import of a parser and of a highlighter
    help="A research swarm: agents post proposals to a NATS log, workers run them, DuckDB ranks them.",
    config=print_as_configured,
)

ArenaOption = Annotated[
    str | None, Parameter(help="Name of the arena; default: the setting `arena`, else the only arena there is.")
]
Nats = Annotated[
    str | None,
    Parameter(
        help="Address of the NATS server; default: the setting `nats`, else the server that `mesh up` started here."
    ),
]
Folder = Annotated[
    Path,
    Parameter(
        help="A folder with an arena.toml, the name of an arena that comes with the mesh, such as digits, or a "
        "program; default: this folder.",
        show_default=False,
    ),
]
Evaluator = Annotated[
    Path | None, Parameter(help="The evaluator of the program, a Python file with a function `evaluate`.")
]
TaskConfig = Annotated[
    Path | None,
    Parameter(name=["--config", "-c"], help="OpenEvolve's configuration of the task; default: the one beside it."),
]
TaskPython = Annotated[
    str | None,
    Parameter(
        name="--environment",
        help="Run the task in this environment (a venv, conda environment or interpreter; requirements.txt or uv.lock "
        "to build one), and write it into arena.toml; none: in the mesh's own.",
    ),
]
MetricName = Annotated[
    str | None, Parameter(name="--metric", help="An autoresearch loop's metric, if its files do not agree on one.")
]
MetricDirection = Annotated[
    Literal["min", "max"] | None,
    Parameter(name="--direction", help="Which way an autoresearch loop's metric is better."),
]
RunSeconds = Annotated[
    float | None,
    Parameter(help="Seconds of a run of an autoresearch loop, if its files do not agree.", validator=Number(gt=0)),
]
Data = Annotated[
    Path | None,
    Parameter(help="Make the arena's data from this file or folder; default: `data.source` in arena.toml, if any."),
]
Rows = Annotated[int, Parameter(name="-n", help="Print at most this many rows.", validator=Number(gte=0))]
Color = Annotated[
    Literal["auto", "always", "never"] | None,
    Parameter(name=["--color", "--colour"], help="Colour the text; default: the setting `color`."),
]
NoConfirm = Annotated[
    bool,
    Parameter(
        name="--no-confirm", negative="", help="Skip confirmation runs: the metric is exact, so one score is proof."
    ),
]
AuthorOption = Annotated[
    str | None,
    Parameter(
        name="--name", help="Author of what is posted; default: the member of a hub that you joined as, else operator."
    ),
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of text.")]


def print_json(value: object) -> None:
    """Print a value as JSON on one line of stdout."""
    import msgspec

    print(msgspec.json.encode(value).decode())
