"""What is ours beside AgentHub's interface: proposals without git, news by long poll, and every question to the board.

The routes are thin: the functions of `gateway` do the work, and their answers are sent as they are.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.answers import DoorAnswer
from gateway.code import code
from gateway.critique import critique
from gateway.diff import diff
from gateway.door import Door
from gateway.http.body import json_of, query_number
from gateway.http.entry import caller_of, gateway_of, json_answer, member, served_of
from gateway.http.rules import POLLING, check_all_arenas, check_pending, check_texts
from gateway.leaderboard import leaderboard
from gateway.lineage import lineage
from gateway.news import news
from gateway.propose import propose
from gateway.proposed_files import from_patch
from gateway.show import show
from gateway.sql import sql
from gateway.status import status
from gateway.wait import Awaited, await_outcome
from mesh.errors import BadInput
from mesh.events import KINDS
from mesh.text import printable
from mesh.wire import Pattern

MOST_PROPOSED = 2 * 1024 * 1024
_PARENTS = 8
LONGEST_POLL_S, USUAL_POLL_S = 50.0, 25.0
_Share = Annotated[float, Meta(ge=0, le=1)]


class _NewProposal(msgspec.Struct):
    files: dict[str, str] = {}
    patch: str = ""
    title: str = ""
    rationale: str = ""
    predicted_gain: float | None = None
    confidence: _Share | None = None
    parents: list[str] = []
    model: str = ""


class _NewCritique(msgspec.Struct):
    id: str
    verdict: Literal["endorse", "warn", "block"]
    text: str
    predicted_gain: float | None = None
    confidence: _Share | None = None
    model: str = ""


class _Question(msgspec.Struct):
    query: str = ""
    sql: str = ""
    max_rows: int = 200


async def _propose(request: Request) -> Response:
    asking, door, gateway = caller_of(request), served_of(request).door, gateway_of(request)
    gateway.limits.take("push", asking.author)  # a patch that does not fit is work too
    wish = await json_of(request, _NewProposal, MOST_PROPOSED)
    if bool(wish.files) == bool(wish.patch.strip()):
        raise BadInput("a proposal needs either files or patch; give one of them")
    if len(wish.parents) > _PARENTS:
        raise BadInput(f"parents has {len(wish.parents)} proposals; use at most {_PARENTS}")
    check_pending(request)
    parent, *others = [await door.proposal(word) for word in wish.parents or [""]]
    files, title, rationale = {name: text.encode() for name, text in wish.files.items()}, wish.title, wish.rationale
    if wish.patch.strip():
        found = await from_patch(door, wish.patch, parent)
        files, title, rationale = found.files, title or found.title, rationale or found.rationale
    texts = {"title": title, "rationale": rationale, "model": wish.model} | {
        name: data.decode() for name, data in files.items()
    }
    check_texts(request, texts)
    done = await propose(
        door,
        files,
        author=asking.author,
        parent=parent,
        title=title,
        rationale=rationale,
        predicted_gain=wish.predicted_gain,
        confidence=wish.confidence,
        model=wish.model or asking.id,
        also_from=others,
    )
    return json_answer(done, 201)


async def _critique(request: Request) -> Response:
    asking, limits = caller_of(request), gateway_of(request).limits
    wish = await json_of(request, _NewCritique)
    check_texts(request, {"text": wish.text, "model": wish.model})
    limits.take("post", asking.author)
    done = await critique(
        served_of(request).door,
        wish.id,
        verdict=wish.verdict,
        text=wish.text,
        author=asking.author,
        predicted_gain=wish.predicted_gain,
        confidence=wish.confidence,
        model=wish.model or asking.id,
    )
    return json_answer(done, 201)


async def _events(request: Request) -> Response:
    served = served_of(request)
    board = served.door.board
    given = query_number(request, "after")
    after = board.seq if given is None else given
    if after > board.seq:
        raise BadInput(f"arena {board.arena} has no entry {after}; use 0 to {board.seq}")
    kinds = [kind for kind in request.query_params.get("kinds", "").split(",") if kind]
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise BadInput(f"{printable(unknown[0], 60)!r} is not a kind of fact; use some of {', '.join(sorted(KINDS))}")
    with POLLING.one(caller_of(request).author):
        wanted = [Pattern(kind=kind) for kind in dict.fromkeys(kinds)]
        found, reached = await served.latest.since(after, _seconds(request), wanted)
    board = served.door.board
    shown = gateway_of(request).members.index.shown
    return json_answer(
        {
            "arena": board.arena,
            "seq": board.seq,
            "closed": board.closed.reason if board.closed else "",
            "next": reached,
            "events": [
                {
                    "seq": entry.seq,
                    "time": entry.time,
                    "kind": entry.subject.kind,
                    "author": entry.subject.author,
                    "agent_id": shown(entry.subject.author),
                    "event": entry.post.event if entry.post else None,
                }
                for entry in found
            ],
        }
    )


def _seconds(request: Request) -> float:
    try:
        given = float(request.query_params.get("wait", USUAL_POLL_S))
    except ValueError:
        given = math.nan
    if math.isnan(given):
        raise BadInput(f"wait is not a number of seconds; use 0 to {LONGEST_POLL_S:g}")
    return min(max(given, 0.0), LONGEST_POLL_S)


async def _wait(request: Request) -> Response:
    door = served_of(request).door
    tree = await door.proposal(request.path_params["word"])
    if tree not in door.board.proposals:
        raise BadInput("the baseline was not proposed by anybody; there is nothing to wait for")
    until: Awaited = "score" if request.query_params.get("until") == "score" else "verdict"
    with POLLING.one(caller_of(request).author):
        return json_answer(await await_outcome(door, tree, until=until, seconds=_seconds(request)))


async def _sql(request: Request) -> Response:
    wish = await json_of(request, _Question)
    await check_all_arenas(request)
    return json_answer(await sql(served_of(request).door, wish.query or wish.sql, max_rows=wish.max_rows))


def _asked(ask: Callable[[Door, Request], Awaitable[DoorAnswer]]) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that answers with what a function of the gateway answers."""

    async def handler(request: Request) -> Response:
        return json_answer(await ask(served_of(request).door, request))

    return handler


def _number(request: Request, name: str, usual: int) -> int:
    found = query_number(request, name)
    return usual if found is None else found


def _path(request: Request, name: str = "word") -> str:
    found: Any = request.path_params[name]
    return "" if found == "champion" else str(found)


ADDITIONAL_ROUTES: list[BaseRoute] = [
    member("/api/proposals", _propose, "POST", writes=True),
    member("/api/critiques", _critique, "POST", writes=True),
    member("/api/events", _events, wait_s=LONGEST_POLL_S),
    member("/api/wait/{word}", _wait, wait_s=LONGEST_POLL_S),
    member("/api/sql", _sql, "POST", wait_s=30.0),
    member("/api/status", _asked(lambda door, _: status(door))),
    member("/api/leaderboard", _asked(lambda door, request: leaderboard(door, top=_number(request, "top", 20)))),
    member(
        "/api/digest",
        _asked(
            lambda door, request: news(
                door,
                _number(request, "since", 0),
                max_tokens=_number(request, "max_tokens", 2000),
                author=caller_of(request).author,
            )
        ),
    ),
    member("/api/show/{word}", _asked(lambda door, request: show(door, request.path_params["word"]))),
    member("/api/lineage/{word}", _asked(lambda door, request: lineage(door, request.path_params["word"]))),
    member(
        "/api/diff/{old}/{new}",
        _asked(
            lambda door, request: diff(
                door,
                request.path_params["old"],
                request.path_params["new"],
                first_line=_number(request, "first_line", 1),
            )
        ),
    ),
    member(
        "/api/code/{word}",
        _asked(
            lambda door, request: code(
                door,
                _path(request),
                request.query_params.get("path", ""),
                first_line=_number(request, "first_line", 1),
            )
        ),
    ),
]
