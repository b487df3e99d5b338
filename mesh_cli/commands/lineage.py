"""`mesh lineage`, `children` and `leaves`: where proposals came from and what was built on them."""

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import ArenaOption, Json, Nats, Rows, app, print_json
from mesh_cli.exit import run

if TYPE_CHECKING:
    from mesh.leaderboard import Ranking


@app.command
def lineage(
    proposal: str = "champion",
    *,
    arena: ArenaOption = None,
    nats: Nats = None,
    up: Annotated[bool, Parameter(negative="", help="Show its ancestors (the default).")] = False,
    down: Annotated[bool, Parameter(negative="", help="Show its descendants.")] = False,
    depth: Annotated[int | None, Parameter(help="Show at most this many steps.", validator=Number(gte=0))] = None,
    dot: Annotated[bool, Parameter(negative="", help="Print a graph for Graphviz.")] = False,
    json: Json = False,
) -> int:
    """Show the ancestors or the descendants of a proposal as a tree.

    Example: mesh lineage champion --depth 5
    """

    async def work() -> None:
        from gateway.resolve import find_proposal
        from mesh.errors import BadInput
        from mesh.families import family
        from mesh.leaderboard import Ranking
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.relations import projected_family
        from mesh_cli.proposals import lineage

        if up and down:
            raise BadInput("--up and --down exclude each other; use one of them")
        if dot and json:
            raise BadInput("--dot and --json exclude each other; use one of them")
        way: Literal["up", "down"] = "down" if down else "up"
        async with reach(arena, nats) as bus:
            ask = partial(projected_family, word=proposal, way=way, depth=depth)
            ranking = await from_projector(bus, ask) or Ranking(await opened_board_of(bus))
        board = ranking.board
        found = family(board, find_proposal(board, proposal), way, depth)
        if json:
            print_json(lineage.rows(board, found, ranking))
            return
        drawn = lineage.drawn(found, lambda tree: lineage.line(ranking, tree))
        print("\n".join(lineage.dot(board, found, ranking) if dot else drawn))
        if found.cut:
            links = "1 link goes" if found.cut == 1 else f"{found.cut} links go"
            print(f"mesh: {links} further than --depth; raise it to see them", file=sys.stderr)

    return run(work)


@app.command
def children(proposal: str, *, arena: ArenaOption = None, nats: Nats = None, json: Json = False) -> int:
    """List the children of a proposal, oldest first.

    Example: mesh children champion
    """

    async def work() -> None:
        from gateway.resolve import find_proposal
        from mesh.leaderboard import Ranking
        from mesh.proposal_numbers import children_of
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.relations import projected_family

        async with reach(arena, nats) as bus:
            ask = partial(projected_family, word=proposal, way="down", depth=0)
            ranking = await from_projector(bus, ask) or Ranking(await opened_board_of(bus))
        found = children_of(ranking.board).get(find_proposal(ranking.board, proposal), [])
        _list(ranking, found, as_json=json)

    return run(work)


@app.command
def leaves(*, arena: ArenaOption = None, nats: Nats = None, n: Rows = 20, json: Json = False) -> int:
    """List the proposals without children, best first.

    Example: mesh leaves -n 5
    """

    async def work() -> None:
        from mesh.leaderboard import Ranking
        from mesh_cli.connect import opened_board_of, reach
        from mesh_cli.projected.asking import from_projector
        from mesh_cli.projected.compared import projected_leaves
        from mesh_cli.proposals.lineage import leaves as leaves_of

        async with reach(arena, nats) as bus:
            known = await from_projector(bus, partial(projected_leaves, count=n))
            ranking = known[0] if known else Ranking(await opened_board_of(bus))
        _list(ranking, known[1] if known else leaves_of(ranking)[:n], as_json=json)

    return run(work)


def _list(ranking: "Ranking", trees: list[str], *, as_json: bool) -> None:
    from mesh_cli.proposals.lineage import line, lineage_row

    if as_json:
        print_json([lineage_row(ranking, tree) for tree in trees])
    else:
        sys.stdout.writelines(f"{line(ranking, tree)}\n" for tree in trees)
