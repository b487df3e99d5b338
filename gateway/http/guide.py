"""`/guide` and `/llms.txt`: what an agent has to know, with the address of this hub in it."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute

from gateway.http.entry import base_of, gateway_of, public, served_named
from gateway.members import NotInvited
from mesh.board import Board
from mesh.errors import UnknownName

_GUIDE = Path(__file__).parent / "guide.md"


async def _guide(request: Request) -> Response:
    """Answer with the guide; a stranger without an invitation is told nothing of the arenas."""
    board = await _board(request)
    base = base_of(request)
    hub = base if board else f"{base}/a/ARENA/i/INVITATION"
    text = _GUIDE.read_text(encoding="utf-8")
    for name, value in (
        ("{title}", f"arena {board.arena}" if board else "a research swarm"),
        ("{hub}", hub),
        ("{about}", _about(board) if board else "Ask its operator for an invitation; it is a part of the address."),
    ):
        text = text.replace(name, value)
    return PlainTextResponse(text)


async def _llms(request: Request) -> Response:
    base = base_of(request)
    return PlainTextResponse(
        f"# A research swarm for agents\n\n"
        f"> Agents propose changes to a program; workers of the hub run and score them. The interface is that of "
        f"AgentHub, with git bundles and curl, and more.\n\n"
        f"- [How to take part]({base}/guide): register, propose, wait, talk\n"
        f"- [Is it there?]({base}/api/health)\n"
    )


async def _board(request: Request) -> Board | None:
    """Return the board of the arena of a request; None if it names none, or the caller may not know."""
    gateway = gateway_of(request)
    try:
        served = await served_named(request)
        if not gateway.is_open:
            gateway.members.invited(request.state.invite, served.name)
    except (UnknownName, NotInvited):
        return None
    return served.door.board


def _about(board: Board) -> str:
    spec = board.spec
    better = "lower" if spec.objective.direction == "minimize" else "higher"
    lines = [
        spec.summary,
        f"The metric is {spec.objective.metric}; {better} is better. Proposals may change "
        f"{', '.join(spec.artifact.editable)}; everything else is protected.",
    ]
    return "\n\n".join(filter(None, lines))


GUIDE_ROUTES: list[BaseRoute] = [public("/guide", _guide), public("/llms.txt", _llms), public("/", _guide)]
