"""`mesh tail`: the message board."""

import sys
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Color, Json, Nats, app, print_json
from mesh_cli.exit import run

_Words = Annotated[list[str] | None, Parameter(negative="")]


@app.command
def tail(
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    follow: Annotated[bool | None, Parameter(help="Keep printing new lines; default: only on a terminal.")] = None,
    n: Annotated[
        int | None,
        Parameter(
            name="-n", help="Print this many of the last lines that match; default: 20.", validator=Number(gte=0)
        ),
    ] = None,
    from_seq: Annotated[
        int | None, Parameter(help="Start with this sequence number, instead of -n.", validator=Number(gte=0))
    ] = None,
    since: Annotated[str | None, Parameter(help="Start this long ago (2h) or at an ISO time (UTC).")] = None,
    until: Annotated[str | None, Parameter(help="Stop before this time; same format as --since.")] = None,
    kind: Annotated[
        _Words, Parameter(help="Print only facts of this kind, such as run.finished or 'run.*'; repeatable.")
    ] = (None),
    author: Annotated[_Words, Parameter(help="Print only facts of this author; globs as for --kind.")] = None,
    channel: Annotated[_Words, Parameter(help="Print only notes in this channel; globs as for --kind.")] = None,
    of_run: Annotated[str | None, Parameter(name="--run", help="Print only facts about this run.")] = None,
    proposal: Annotated[str | None, Parameter(help="Print only facts about this proposal and its runs.")] = None,
    grep: Annotated[_Words, Parameter(help="Print only lines that match this regular expression.")] = None,
    exclude: Annotated[_Words, Parameter(help="Leave out lines that match this regular expression.")] = None,
    color: Color = None,
    json: Json = False,
) -> int:
    """Show the message board; on a terminal, keep following it. Every line starts with its sequence number.

    Example: mesh tail --kind proposal.promoted --no-follow -n 5
    """

    async def work() -> None:
        from gateway.resolve import find_proposal
        from mesh.events import NotePosted
        from mesh.wire import Entry, entry_row
        from mesh_cli.board.filters import Wanted
        from mesh_cli.board.lines import Lines
        from mesh_cli.board.read_marks import marks_of
        from mesh_cli.board.tail import entries, span_of, tell
        from mesh_cli.connect import board_of, reach
        from mesh_cli.render.colour import Ink, is_coloured

        goes_on = follow if follow is not None else until is None and sys.stdout.isatty()
        async with reach(arena, nats, endless=goes_on) as bus:
            about = None
            if proposal is not None:
                board = await board_of(bus)
                about = board, find_proposal(board, proposal)
            wanted = Wanted(
                kinds=kind or (),
                authors=author or (),
                channels=channel or (),
                run=of_run,
                proposal=about,
                grep=grep or (),
                exclude=exclude or (),
            )
            span = await span_of(bus, follow=goes_on, n=n, from_seq=from_seq, since=since, until=until)
            screen = sys.stdout.isatty()
            lines = Lines(Ink(is_coloured(color)), screen=screen)
            marks = await marks_of(bus) if screen and wanted.is_reading else None

            async def say(entry: Entry) -> None:
                if json:
                    print_json(entry_row(entry))
                else:
                    print(await lines.line_from(bus, entry))
                if marks and entry.post and isinstance(entry.post.event, NotePosted):
                    marks.move(entry.post.event.channel, entry.seq)

            await tell(entries(bus, wanted, span), say, marks.save if marks else None)

    return run(work, endless=True)
