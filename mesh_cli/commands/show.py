"""`mesh show`: one thing on the board."""

import sys
from functools import partial
from typing import Annotated

from cyclopts import Parameter

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def show(
    word: str,
    *,
    prompt: Annotated[
        bool, Parameter(name="--prompt", negative="", help="Print the whole prompt of the model call that led to it.")
    ] = False,
    answer: Annotated[
        bool, Parameter(name="--answer", negative="", help="Print the whole answer of the model that led to it.")
    ] = False,
    arena: ArenaOption = None,
    nats: Nats = None,
    json: Json = False,
) -> int:
    """Show one proposal, run, agent or worker, by its name or the start of it, or one fact by its sequence number.

    Example: mesh show champion
    """

    async def work() -> None:
        from gateway.resolve import find, named_words
        from mesh.kept_calls import call_data
        from mesh.leaderboard import Ranking
        from mesh.recall import proposals_of, recall
        from mesh.text import printable
        from mesh_cli.connect import entry_of, opened_board_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.named import projected_thing
        from mesh_cli.proposals.card import card
        from mesh_cli.proposals.describe import about, about_fact
        from mesh_cli.proposals.model_call import call_lines, call_of, call_text, no_call
        from mesh_cli.proposals.not_counted import finishes_not_counted

        async with reach(arena, nats) as bus:
            known_there = await from_projector(bus, partial(projected_thing, word=word))
            ranking = known_there or Ranking(await opened_board_of(bus))
            board = ranking.board
            named, others = find(board, word)
            seq = int(named.id) if named.kind == "fact" else 0
            seq = board.proposals[named.id].seq if named.kind == "proposal" else seq
            entry = await entry_of(bus, seq) if seq else None
            await recall(bus, board, [named.id] if named.kind == "proposal" else proposals_of(board, [named.id]))
            totals = known_there.totals if known_there else None
            known = about_fact(entry) if named.kind == "fact" and entry else about(board, named, ranking, totals)
            if named.kind == "run":
                known["not_counted"] = await finishes_not_counted(bus, board, named.id)
            kept = call_of(entry) if entry else None
            call = await call_data(bus, seq, kept) if kept else None
        if (prompt or answer) and call is None:
            raise no_call(named_words(named))
        if others:
            also = f"{named_words(others[0])}{f' and {len(others) - 1} more' if len(others) > 1 else ''}"
            print(
                f"mesh: showing {named_words(named)}; {printable(word, 60)} is also the start of {also}",
                file=sys.stderr,
            )
        if json:
            print_json(known | ({"call": call} if call else {}))
        elif call and (prompt or answer):
            wanted = [what for what, is_wanted in (("prompt", prompt), ("answer", answer)) if is_wanted]
            print("\n\n".join(call_text(call, what) for what in wanted))
        else:
            print("\n".join([*card(board, known, ranking), *(call_lines(call) if call else [])]))

    return run(work)
