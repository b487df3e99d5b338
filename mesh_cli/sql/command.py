"""`mesh sql`: ask and print, or read statements from a prompt."""

import sys
from pathlib import Path

from analytics.sql_client import sql_client
from mesh.errors import BadInput
from mesh_cli.connect import pick_any, reach_hub
from mesh_cli.sql.query import Options, answer
from mesh_cli.sql.statements import statements


async def sql_command(options: Options, *, arena: str | None, nats: str | None) -> None:
    """Ask and print, or read statements from a prompt.

    Raises:
        BadInput: the options do not go together, or a file cannot be read or written.
        QueryError: a statement was refused or failed; those after it are not options.
    """
    if options.form == "parquet" and options.output is None:
        raise BadInput("--format parquet needs a file; add -o FILE")
    if options.statement is not None and options.file is not None:
        raise BadInput("a statement and --file exclude each other; use one of them")
    prompted = options.statement is None and options.file is None and sys.stdin.isatty()
    texts = [] if prompted else _texts(options)
    if options.output is not None and (prompted or len(texts) != 1):
        raise BadInput(f"-o needs exactly one statement, not {'a prompt' if prompted else len(texts)}")
    async with reach_hub(nats) as hub:
        bus = await pick_any(hub, arena)
        async with sql_client(hub, bus) as client:
            if prompted:
                from mesh_cli.sql.prompt import Prompt

                await Prompt(client, options).run()
            for text in texts:
                await answer(client, options, text)


def _texts(options: Options) -> list[str]:
    if options.statement is not None:
        return [options.statement]
    try:
        data = sys.stdin.buffer.read() if options.file in (None, Path("-")) else _read(options.file)
    except OSError as error:
        raise BadInput(f"{options.file} cannot be read: {error.strerror}") from None
    return statements(data.decode("utf-8-sig", "replace"))


def _read(path: Path | None) -> bytes:
    assert path is not None
    return path.read_bytes()
