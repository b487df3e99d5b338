"""The page's server as a Starlette app: the page, a small JSON interface, and the feed.

`GET /api/state`, `dots`, `dag`, `proposal/<tree>` and its `/call`, `board` and `events` read. `POST /api/sql` runs
read-only SQL. `POST /api/note` is the only route that writes; it needs the token. An error is `{"error": sentence}`.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from analytics.web.event_stream import CLIENTS, EventStream, Feed
from analytics.web.lineage import lineage
from analytics.web.proposal import call_page, proposal_page
from analytics.web.view_cache import NEWEST, SHOWN, ViewCache
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import BadInput, BusUnavailable, MeshError, ObjectMissing, UnknownName
from mesh.events import NotePosted
from mesh.exactness import exact_on, exact_sentence
from mesh.fleet import present, under_way
from mesh.follow import Follower
from mesh.money import limit_usd, unknown_costs
from mesh.recall import recall
from mesh.roll_call import Watchman
from mesh.ruled_out import ruled_out_words
from mesh.text import needed_places
from mesh.web.access import Guard, holds_token
from mesh.wire import MAX_POST_BYTES, Post, check_token

STATIC = Path(__file__).parent / "static"
MAX_BODY_BYTES = 2 * MAX_POST_BYTES
DAG, MAX_DAG = 200, 20_000
_FIRST = 10
"""Scores of the leaderboard that must read as different ones."""
_SERVER_WITHIN_S = 10.0
"""Seconds that one request waits for the server of the log."""
T = TypeVar("T")


class Page(msgspec.Struct, frozen=True):
    """What the page shows, and who may post: the holder of `token`, as `name`; nobody if there is no token.

    `takes_proposals` says that a gateway serves the page, at whose `api/proposals` members propose.
    """

    bus: ArenaBus
    follower: Follower
    feed: Feed
    views: ViewCache
    code: CodeStore
    watchman: Watchman
    name: str = "operator"
    token: str = ""
    takes_proposals: bool = False


class _Note(msgspec.Struct, frozen=True):
    text: str
    channel: str = "general"
    reply_to: int | None = None


class _Question(msgspec.Struct, frozen=True):
    sql: str


def make_app(page: Page, hosts: tuple[str, ...], *, numbers: bool = False) -> ASGIApp:
    """Return the app; it answers only to the host names `hosts`, and with `numbers` to IP addresses as well."""
    routes: list[BaseRoute] = [
        Route("/", _index),
        Route("/api/state", _state),
        Route("/api/dots", _dots),
        Route("/api/dag", _dag),
        Route("/api/proposal/{tree}", _proposal),
        Route("/api/proposal/{tree}/call", _call),
        Route("/api/board", _board),
        Route("/api/events", _events),
        Route("/api/note", _note, methods=["POST"]),
        Route("/api/sql", _sql, methods=["POST"]),
        Mount("/static", _Static(directory=STATIC)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(GZipMiddleware, minimum_size=2000, compresslevel=4)],
        exception_handlers={MeshError: _error, HTTPException: _error, ClientDisconnect: _left},
    )
    app.state.page = page
    return Guard(app, hosts, command="mesh gateway" if page.takes_proposals else "mesh web", numbers=numbers)


class _Static(StaticFiles):
    """The files of the page; a browser checks each time whether they changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _page(request: Request) -> Page:
    page: Page = request.app.state.page
    return page


async def _index(request: Request) -> Response:
    return FileResponse(STATIC / "index.html", headers={"Cache-Control": "no-cache"})


async def _state(request: Request) -> Response:
    page = _page(request)
    board, state, answering = page.follower.board, page.views.state, page.watchman.answering
    counts = next(iter(state.counts.records()), {}) | {"proposals": len(board.proposals)}
    running, silent = under_way(board, answering), page.watchman.silent_since
    spec = board.opened.spec if board.opened else None
    champion = board.proposals.get(board.champion)
    base = board.opened.base_tree if board.opened else ""
    reigns = state.reigns.records()
    measured = state.measured({base, *(reign["proposal"] for reign in reigns)})
    best = measured.get(board.champion, {})
    return _json(
        {
            "seq": board.seq,
            "as_of": state.as_of,
            "trouble": state.trouble,
            "silent_since": silent.timestamp() if silent else None,
            "last": board.time.timestamp() if board.seq else None,
            "has_workers": bool(present(board.workers, answering)),
            "arena": {
                "name": board.arena,
                "summary": spec.summary if spec else "",
                "metric": spec.objective.metric if spec else "score",
                "direction": spec.objective.direction if spec else "minimize",
                "state": "closed" if board.closed else "open",
                "opened": board.opened_at.timestamp() if board.opened_at else None,
                "base": base,
            },
            "exact": exact_on(board),
            "remarks": [*filter(None, (exact_sentence(board), ruled_out_words(board)))],
            "may_post": bool(page.token),
            "takes_proposals": page.takes_proposals,
            "name": page.name,
            "counts": counts | {"running": len(running), "waiting": len(board.unfinished) - len(running)},
            "money": _money(board, answering),
            "champion": {"id": board.champion, "title": champion.event.title} if champion else None,
            "baseline": measured.get(base),
            "standing": state.standing.records(SHOWN),
            "scored_proposals": len(state.standing.rows),
            "claims": state.claims.records(),
            "reigns": [reign | _mean_of(measured.get(reign["proposal"], {})) for reign in reigns],
            "places": needed_places(
                [row["mean"] for row in state.standing.records(_FIRST)], best.get("low"), best.get("high")
            ),
            "workers": _workers(page, running),
            "agents": _agents(page),
        }
    )


def _money(board: Board, answering: Collection[str] | None) -> dict[str, float | None]:
    """Return what the arena has spent and may spend, in dollars, and how many costs nobody knows."""
    costs = board.worker_costs if answering is None else board.worker_costs.without_silent(answering)
    return {"usd": costs.spent_usd(board, board.time), "limit": limit_usd(board), "unknown": unknown_costs(board)}


def _mean_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("mean", "low", "high")}


def _workers(page: Page, running: list[str]) -> list[dict[str, Any]]:
    """Return the rows of the view `workers`, with what the roll call says of who is there."""
    board = page.follower.board
    here = {member.name for member in present(board.workers, page.watchman.answering).values()}
    boots = [board.workers[run.worker] for run in map(board.runs.__getitem__, running) if run.worker in board.workers]
    busy = [member.name for member in boots]
    return [
        row | {"state": _presence(row["worker"] in here, row["state"]), "running": busy.count(row["worker"])}
        for row in page.views.state.workers.records()
    ]


def _agents(page: Page) -> list[dict[str, Any]]:
    board = page.follower.board
    here = {member.name for member in present(board.agents, page.watchman.answering).values()}
    latest = {member.name: member for member in board.agents.values()}
    rows = [
        {
            "agent": name,
            "role": getattr(m.joined, "role", ""),
            "state": _presence(name in here, "left" if m.left else "here"),
        }
        for name, m in latest.items()
    ]
    return sorted(rows, key=lambda row: (row["state"], row["agent"]))[:SHOWN]


def _presence(answers: bool, state: str) -> str:
    """Return the state of a member: `here`, `left`, or `lost` if it never said that it leaves and does not answer."""
    return "here" if answers else "left" if state == "left" else "lost"


async def _dots(request: Request) -> Response:
    return _json(await _page(request).views.dots())


async def _dag(request: Request) -> Response:
    page = _page(request)
    limit = min(_number(request, "limit", DAG), MAX_DAG)
    return _json(lineage(page.follower.board, page.views.state, limit))


async def _proposal(request: Request) -> Response:
    page = _page(request)
    tree = request.path_params["tree"]
    with _bounded():
        await recall(page.bus, page.follower.board, [tree])
        return _json(await proposal_page(page.follower.board, page.code, page.views.state, tree))


async def _call(request: Request) -> Response:
    page = _page(request)
    with _bounded():
        return _json(await call_page(page.follower.board, page.bus, request.path_params["tree"]))


@contextmanager
def _bounded() -> Iterator[None]:
    """Give up after `_SERVER_WITHIN_S`: the connection waits for a lost server for any length of time.

    Raises:
        BusUnavailable: the server does not answer.
    """
    try:
        with anyio.fail_after(_SERVER_WITHIN_S):
            yield
    except TimeoutError:
        raise BusUnavailable(f"the server did not answer within {_SERVER_WITHIN_S:g} s: try again later") from None


async def _board(request: Request) -> Response:
    notes = await _page(request).views.notes(_number(request, "before", NEWEST))
    return _json({"as_of": notes.as_of, "notes": notes.records()})


async def _events(request: Request) -> Response:
    page = _page(request)
    if page.feed.clients >= CLIENTS:
        raise HTTPException(503, f"{CLIENTS} pages are open, which is the limit: close one")
    last = request.headers.get("last-event-id", "")
    after = _whole(last)
    if after is None:
        after = _number(request, "after", page.follower.board.seq)
    return _Streamed(EventStream(page.feed, after))


class _Streamed(Response):
    """A response that is an ASGI app of its own."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


async def _note(request: Request) -> Response:
    page = _page(request)
    if not page.token:
        raise HTTPException(403, "this page is read-only: start `mesh web` with --token to post")
    if not holds_token(request.headers, page.token):
        raise HTTPException(401, "the token is wrong: use the one with which `mesh web` was started")
    note = await _body(request, _Note)
    check_token("channel", note.channel)
    if not note.text.strip():
        raise BadInput("the note is empty: write some text")
    if note.reply_to is not None and not 0 < note.reply_to <= page.follower.board.seq:
        given, last = str(note.reply_to)[:40], page.follower.board.seq
        raise BadInput(f"reply_to {given} is not an entry of this log; its entries are 1 to {last}")
    event = NotePosted(channel=note.channel, text=note.text, reply_to=note.reply_to)
    with _bounded():
        return _json({"seq": await page.bus.post(Post.new(page.name, event))})


async def _sql(request: Request) -> Response:
    question = await _body(request, _Question)
    return _json(await _page(request).views.sql(question.sql))


async def _body(request: Request, kind: type[T]) -> T:
    """Return the JSON body of a request.

    Raises:
        BadInput: it is not JSON of this kind, or too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadInput("the body of the request must be application/json")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY_BYTES:
            raise BadInput(f"the body of the request is too large: at most {MAX_BODY_BYTES:,} bytes are allowed")
    try:
        return msgspec.json.decode(bytes(data), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"the body of this request cannot be read: {error}") from None


def _number(request: Request, name: str, otherwise: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return otherwise
    if (found := _whole(text)) is None:
        raise BadInput(f"{name} is {text[:40]!r}; use a number from 0 on")
    return found


def _whole(text: str) -> int | None:
    """Return the number from 0 on in a text; None if it has none that fits 64 bits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _error(request: Request, error: Exception) -> Response:
    """Answer an expected error with its sentence."""
    if isinstance(error, HTTPException):
        return _json({"error": error.detail}, error.status_code)
    found = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 500)
    return _json({"error": str(error)}, found)


async def _left(request: Request, error: Exception) -> Response:
    """Answer nobody: the client went away before its request was complete."""
    return Response(status_code=400)


_STATUS: dict[type[Exception], int] = {
    UnknownName: 404,
    ObjectMissing: 404,
    BusUnavailable: 503,
    BadInput: 400,
    MeshError: 422,
}
