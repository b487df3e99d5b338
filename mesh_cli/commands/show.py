"""`mesh show`: one thing on the board."""

import sys

from mesh_cli.app import ArenaOption, Json, Nats, app, print_json
from mesh_cli.exit import run


@app.command
def show(word: str, *, arena: ArenaOption = None, nats: Nats = None, json: Json = False) -> int:
    """Show one proposal, run, agent or worker, by its name or the start of it, or one fact by its sequence number.

    Example: mesh show champion
    """

    async def work() -> None:
        from mesh.text import printable
        from mesh_cli.connect import entry_of, opened_board_of, reach
        from mesh_cli.proposals.card import card
        from mesh_cli.proposals.describe import about, about_fact
        from mesh_cli.resolve import find, named_words

        async with reach(arena, nats) as bus:
            board = await opened_board_of(bus)
            named, others = find(board, word)
            known = about_fact(await entry_of(bus, int(named.id))) if named.kind == "fact" else about(board, named)
        if others:
            also = f"{named_words(others[0])}{f' and {len(others) - 1} more' if len(others) > 1 else ''}"
            print(
                f"mesh: showing {named_words(named)}; {printable(word, 60)} is also the start of {also}",
                file=sys.stderr,
            )
        if json:
            print_json(known)
        else:
            print("\n".join(card(board, known)))

    return run(work)
