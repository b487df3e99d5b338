"""AgentHub's git half: push and fetch of bundles, and what is known of the commits.

Everything is as AgentHub answers it, with its statuses and texts. The answer of a push says beside the hashes which
proposals they are, and why one was not proposed.
"""

import re
import tempfile
from collections.abc import AsyncIterator, Sequence
from typing import IO

import anyio.to_thread
import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute

from gateway.commit_diff import commit_diff
from gateway.commit_index import CommitIndex, KnownCommit
from gateway.fetch import fetch
from gateway.git_bundle import MAX_BUNDLE_BYTES, BundleTooLarge
from gateway.git_quarantine import UNPACK_WITHIN_S
from gateway.http.body import page_of
from gateway.http.entry import caller_of, gateway_of, json_answer, member, served_of
from gateway.http.rules import BUNDLES
from gateway.pending import awaited_by
from gateway.push import CommitLog, push
from gateway.refusals import check_words
from mesh.errors import BadInput
from mesh.text import printable

MOST_LINEAGE = 10_000
"""Commits of a lineage, at most: the newest."""

_HASH = re.compile(r"[0-9a-f]{4,64}")
_PIECE = 64 * 1024
_MOST_ROWS = 100_000
_IN_MEMORY = 1024 * 1024


class _CommitShape(msgspec.Struct):
    """A commit as AgentHub shows it."""

    hash: str
    parent_hash: str
    agent_id: str
    message: str
    created_at: str


async def _push(request: Request) -> Response:
    asking, gateway = caller_of(request), gateway_of(request)
    gateway.limits.take("push", asking.author)
    if awaited := awaited_by(served_of(request).door.board, asking.author, gateway.pending):
        raise HTTPException(409, f"wait for {awaited} first")
    seen = gateway.members.index.has_key_of_ours

    def check(where: str, data: bytes) -> None:
        check_words(where, data)
        if seen(data.decode(errors="replace")):
            raise BadInput(f"{printable(where, 80)} has a key of this hub; the log never forgets: take it out")

    with BUNDLES.one(asking.author), tempfile.TemporaryFile() as file:
        await _receive(request, file)
        try:
            done = await push(_log(request), file, author=asking.author, model=asking.id, check=check)
        except BundleTooLarge as error:
            raise HTTPException(413, str(error)) from None
    return json_answer({"hashes": done.hashes, "heads": done.heads}, 201)


async def _receive(request: Request, file: IO[bytes]) -> None:
    """Write the body of a request into a file.

    Raises:
        HTTPException: 413, it is larger than a bundle may be.
    """
    size, said = 0, request.headers.get("content-length", "")
    if said.isascii() and said.isdigit() and int(said[:18]) > MAX_BUNDLE_BYTES:
        raise HTTPException(413, "bundle too large", {"Connection": "close"})
    async for piece in request.stream():
        size += len(piece)
        if size > MAX_BUNDLE_BYTES:
            raise HTTPException(413, "bundle too large", {"Connection": "close"})
        file.write(piece)
    file.flush()


async def _fetch(request: Request) -> Response:
    known = _named(request)
    author = caller_of(request).author
    gateway_of(request).limits.take("fetch", author)
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 the answer closes it
    try:
        with BUNDLES.one(author):
            await fetch(_log(request), known, file)
    except BaseException:
        file.close()
        raise
    headers = {
        "Content-Length": str(file.tell()),
        "Content-Disposition": f"attachment; filename={known.commit}.bundle",
    }
    file.seek(0)
    return StreamingResponse(_pieces(file), headers=headers, media_type="application/octet-stream")


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    with file:
        while data := await anyio.to_thread.run_sync(file.read, _PIECE):
            yield data


async def _commits(request: Request) -> Response:
    limit, offset = page_of(request)
    author = request.query_params.get("agent", "").replace(".", "_")
    return _listed(request, _index(request).newest(limit, offset, author))


async def _commit(request: Request) -> Response:
    return _json(_rows(request, [_named(request)])[0])


async def _children(request: Request) -> Response:
    return _listed(request, _index(request).children(_named(request).commit))


async def _lineage(request: Request) -> Response:
    return _listed(request, _index(request).lineage(_named(request).commit, MOST_LINEAGE))


async def _leaves(request: Request) -> Response:
    return _listed(request, _index(request).leaves())


async def _diff(request: Request) -> Response:
    one, other = _named(request, "hash_a"), _named(request, "hash_b")
    gateway_of(request).limits.take("diff", caller_of(request).author)
    return PlainTextResponse(await commit_diff(_log(request), one, other))


def _index(request: Request) -> CommitIndex:
    return served_of(request).index(CommitIndex)


def _log(request: Request) -> CommitLog:
    place = served_of(request)
    return CommitLog(place.door, place.index(CommitIndex), place.reached)


def _named(request: Request, name: str = "hash") -> KnownCommit:
    """Return the commit that a path names.

    Raises:
        HTTPException: 400, it is not a hash, or the beginning of several; 404, there is no such commit.
    """
    word = request.path_params[name]
    if not _HASH.fullmatch(word):
        raise HTTPException(400, "invalid hash")
    return _index(request).find(word)


def _listed(request: Request, commits: Sequence[KnownCommit]) -> Response:
    return _json(b"[" + b",".join(_rows(request, commits)) + b"]")


def _json(data: bytes) -> Response:
    return Response(data + b"\n", media_type="application/json")


def _rows(request: Request, commits: Sequence[KnownCommit]) -> list[bytes]:
    """Return commits as AgentHub shows them; what was once made is kept, as a list of leaves has thousands."""
    made, shown = _index(request).rows, gateway_of(request).members.index.shown
    if len(made) > _MOST_ROWS:
        made.clear()
    rows = list[bytes]()
    for each in commits:
        row = made.get(each.commit)
        if row is None:
            first = each.parents[0] if each.parents else ""
            shape = _CommitShape(each.commit, first, shown(each.author), each.subject, each.created_at)
            row = made[each.commit] = msgspec.json.encode(shape)
        rows.append(row)
    return rows


GIT_ROUTES: list[BaseRoute] = [
    member("/api/git/push", _push, "POST", writes=True, wait_s=2 * UNPACK_WITHIN_S),
    member("/api/git/fetch/{hash}", _fetch, wait_s=UNPACK_WITHIN_S),
    member("/api/git/commits", _commits),
    member("/api/git/commits/{hash}", _commit),
    member("/api/git/commits/{hash}/children", _children),
    member("/api/git/commits/{hash}/lineage", _lineage),
    member("/api/git/leaves", _leaves),
    member("/api/git/diff/{hash_a}/{hash_b}", _diff),
]
