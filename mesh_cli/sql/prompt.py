"""The prompt of `mesh sql`: statements until a `;`, commands that begin with a dot, history, completion.

Ctrl-C interrupts the query that runs, or drops the line; Ctrl-D leaves. The only module that knows prompt_toolkit.
"""

import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import anyio
from msgspec.structs import replace
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from analytics.sql_client import SqlClient
from mesh import settings
from mesh.errors import BadInput, MeshError
from mesh_cli.sql.formats import Format
from mesh_cli.sql.query import Options, answer
from mesh_cli.sql.statements import is_blank, split

_HELP = """\
End a statement with ; (it may have several lines). Tab completes, arrows recall, Ctrl-C interrupts, Ctrl-D quits.
.tables            list the views
.schema [VIEW]     list the columns of one view, or of all
.format [FORM]     show or set the output format: table, json, jsonl, csv, markdown
.timer [on|off]    print how long each statement takes
.help              show this help
.quit              quit"""
COMMANDS = (".tables", ".schema", ".format", ".timer", ".help", ".quit")
KEYWORDS = (
    *("SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "JOIN", "LEFT JOIN", "USING", "WITH"),
    *("DISTINCT", "COUNT", "MIN", "MAX", "AVG", "SUM", "MEDIAN", "STDDEV", "ARG_MIN", "ARG_MAX", "CASE", "DESC"),
    *(
        "INTERVAL",
        "BETWEEN",
        "ILIKE",
        "QUALIFY",
        "DESCRIBE",
        "SUMMARIZE",
        "EXPLAIN",
        "UNION ALL",
        "NULL",
        "GROUP BY ALL",
    ),
)
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
_NAMES = f"({_TABLES}) UNION SELECT column_name FROM information_schema.columns WHERE table_schema = 'main'"  # noqa: S608  # nothing of others
_COLUMNS = (
    "SELECT table_name AS view, column_name AS column, data_type AS type FROM information_schema.columns "
    "WHERE table_schema = 'main'"
)


class Prompt:
    """Reads from the terminal until the person leaves."""

    def __init__(self, client: SqlClient, options: Options) -> None:
        self._client, self._options = client, options
        self._timed = False
        self._running: anyio.CancelScope | None = None
        self._interrupted = False
        self._words: list[str] = []

    async def run(self) -> None:
        """Ask and answer until Ctrl-D or `.quit`."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._interrupt_on_signal)
            try:
                self._words = sorted({str(row[0]) for row in await self._client.rows(_NAMES)})
                print("End a statement with ; or type .help for help.", file=sys.stderr)
                await self._read()
            finally:
                tasks.cancel_scope.cancel()

    async def _read(self) -> None:
        session: PromptSession[str] = PromptSession(
            history=_history(),
            completer=_Words(self._words),
            complete_while_typing=False,
            multiline=True,
            prompt_continuation="   ... ",
            key_bindings=_keys(),
            enable_open_in_editor=True,
        )
        while True:
            self._interrupted = False
            try:
                text = await session.prompt_async("mesh > ", handle_sigint=False)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return
            if text.strip() in (".quit", ".exit"):
                return
            await self._answer(text)

    async def _answer(self, text: str) -> None:
        began = time.monotonic()
        with anyio.CancelScope() as self._running:
            if self._interrupted:  # between the prompt and this line
                self._running.cancel()
            try:
                if text.lstrip().startswith("."):
                    await self._command(*text.split())
                else:
                    for statement in split(text)[0]:
                        await answer(self._client, self._options, statement)
            except MeshError as error:
                print(f"mesh: {error}", file=sys.stderr)
            except BrokenPipeError:
                pass  # the person left the pager
        if self._running.cancelled_caught:
            print("interrupted", file=sys.stderr)
        self._running = None
        sys.stdout.flush()
        if self._timed:
            print(f"{time.monotonic() - began:.3f} s", file=sys.stderr)

    async def _command(self, name: str, word: str = "", *rest: str) -> None:
        if rest or name not in COMMANDS:
            raise BadInput(f"{' '.join([name, word, *rest]).strip()!r} is not a command; .help lists them")
        if name == ".help":
            print(_HELP)
        elif name == ".tables":
            await answer(self._client, self._plainly(), _TABLES)
        elif name == ".schema":
            where = f" AND table_name = '{word.replace(chr(39), chr(39) * 2)}'" if word else ""
            await answer(self._client, self._plainly(), f"{_COLUMNS}{where} ORDER BY table_name, ordinal_position")
        elif name == ".format":
            self._format(word)
        else:
            self._timed = not self._timed if not word else word == "on"
            print(f"the timer is {'on' if self._timed else 'off'}", file=sys.stderr)

    def _plainly(self) -> Options:
        return replace(self._options, max_rows=0)

    def _format(self, word: str) -> None:
        forms: tuple[Format, ...] = get_args(Format)
        usable = [form for form in forms if form != "parquet"]
        chosen = next((form for form in usable if form == word), None)
        if word and chosen is None:
            raise BadInput(f"{word!r} is not a format of the prompt; use {', '.join(usable)}")
        if chosen:
            self._options = replace(self._options, form=chosen)
        print(f"the format is {self._options.form}", file=sys.stderr)

    async def _interrupt_on_signal(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT) as signals:
            async for _ in signals:
                self._interrupted = True
                if self._running is not None:
                    self._running.cancel()


class _Words(Completer):
    """Completes commands at the beginning of a line, elsewhere views, columns and keywords."""

    def __init__(self, names: list[str]) -> None:
        self._names = [*names, *KEYWORDS]

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if re.fullmatch(r"\.\w*", before):
            return [Completion(name, -len(before)) for name in COMMANDS if name.startswith(before)]
        [word] = re.findall(r"\w*\Z", before)[:1]
        return [Completion(n, -len(word)) for n in self._names if word and n.lower().startswith(word.lower())]


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


def is_whole(text: str) -> bool:
    """Tell whether what was typed can be run: a command, nothing, or statements of which the last ends in `;`."""
    return text.lstrip().startswith(".") or (is_blank(text) and "/*" not in text) or is_blank(split(text)[1])


def _history() -> History:
    """Return the history in the home, which only its owner may read; without a home, that of this session."""
    path: Path = settings.home() / "sql_history"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))
