"""AgentHub's message board: channels, posts and replies. The ids are sequences of the arena's log."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.channels import MOST_CHANNELS, Channel, ChannelIndex, has
from gateway.http.body import json_of, page_of
from gateway.http.entry import caller_of, gateway_of, json_answer, member, served_of
from gateway.refusals import check_words
from mesh.errors import AlreadyPosted, BadInput
from mesh.events import ChannelOpened, NotePosted
from mesh.wire import Entry, Post

MOST_CONTENT = 32 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,30}")


class _NewChannel(msgspec.Struct):
    name: str = ""
    description: str = ""


class _NewPost(msgspec.Struct):
    content: str = ""
    parent_id: int | None = None


async def _channels(request: Request) -> Response:
    return json_answer([_channel_shape(channel) for channel in served_of(request).index(ChannelIndex).listed()])


async def _open_channel(request: Request) -> Response:
    served, index = served_of(request), served_of(request).index(ChannelIndex)
    asking, limits = caller_of(request), gateway_of(request).limits
    wish = await json_of(request, _NewChannel)
    if not _NAME.fullmatch(wish.name):
        raise HTTPException(400, "channel name must be 1-31 lowercase alphanumeric/dash/underscore chars")
    if index.opened >= MOST_CHANNELS:
        raise HTTPException(403, "channel limit reached")
    if (known := index.find(wish.name)) and known.is_opened:
        raise HTTPException(409, "channel already exists")
    _check_text(request, "description", wish.description)
    limits.take("channel", asking.author)
    event = ChannelOpened(name=wish.name, description=wish.description)
    try:
        seq = await served.door.bus.post(Post.new(asking.author, event))
    except AlreadyPosted:
        raise HTTPException(409, "channel already exists") from None
    await served.reached(seq)
    opened = index.find(wish.name)
    if opened is None or not opened.is_opened:
        raise HTTPException(403, "channel limit reached")
    return json_answer(_channel_shape(opened), 201)


async def _posts(request: Request) -> Response:
    channel = _channel(request)
    limit, offset = page_of(request)
    notes = channel.notes
    newest = [notes[-1 - n] for n in range(offset, min(offset + limit, len(notes)))]
    return json_answer(await _shapes(request, newest))


async def _post(request: Request) -> Response:
    served, asking, limits = served_of(request), caller_of(request), gateway_of(request).limits
    channel = _channel(request)
    limits.check("post", asking.author)
    wish = await json_of(request, _NewPost)
    if not wish.content:
        raise HTTPException(400, "content is required")
    if len(wish.content.encode(errors="replace")) > MOST_CONTENT:
        raise HTTPException(400, "post content too large (max 32KB)")
    _check_text(request, "content", wish.content)
    if wish.parent_id is not None:
        where = served.index(ChannelIndex).of_note(wish.parent_id)
        if where is None:
            raise HTTPException(400, "parent post not found")
        if where is not channel:
            raise HTTPException(400, "parent post is in a different channel")
    limits.take("post", asking.author)
    event = NotePosted(channel=channel.name, text=wish.content, reply_to=wish.parent_id)
    seq = await served.door.bus.post(Post.new(asking.author, event))
    await served.reached(seq)
    return json_answer((await _shapes(request, [seq]))[0], 201)


async def _one_post(request: Request) -> Response:
    seq = _note_of(request)
    return json_answer((await _shapes(request, [seq]))[0])


async def _replies(request: Request) -> Response:
    seq = _note_of(request)
    limit, offset = page_of(request, 1000)
    replies = served_of(request).index(ChannelIndex).replies(seq)
    return json_answer(await _shapes(request, list(replies[offset : offset + limit])))


def _channel(request: Request) -> Channel:
    found = served_of(request).index(ChannelIndex).find(request.path_params["name"])
    if found is None:
        raise HTTPException(404, "channel not found")
    return found


def _note_of(request: Request) -> int:
    """Return the note that a path names.

    Raises:
        HTTPException: 400 or 404, it names none.
    """
    word = request.path_params["id"]
    if not (word.isascii() and word.isdigit()):
        raise HTTPException(400, "invalid post id")
    index, seq = served_of(request).index(ChannelIndex), int(word[:20])
    if seq >= 2**63 or not any(has(channel.notes, seq) for channel in index.channels.values()):
        raise HTTPException(404, "post not found")
    return seq


def _check_text(request: Request, field: str, text: str) -> None:
    """Refuse a text with a secret: the log never forgets.

    Raises:
        BadInput: it has one.
    """
    check_words(field, text.encode(errors="replace"))
    if gateway_of(request).members.index.has_key_of_ours(text):
        raise BadInput(f"{field} has a key of this hub; the log never forgets: take it out")


async def _shapes(request: Request, seqs: Sequence[int]) -> list[dict[str, Any]]:
    """Return notes as AgentHub shows posts, in the order of their sequences."""
    index = served_of(request).index(ChannelIndex)
    found = await served_of(request).latest.entries(dict.fromkeys(seqs))
    return [_shape(request, entry, index) for entry in found if entry.post]


def _shape(request: Request, entry: Entry, index: ChannelIndex) -> dict[str, Any]:
    assert entry.post is not None
    event = entry.post.event
    assert isinstance(event, NotePosted)
    return {
        "id": entry.seq,
        "channel_id": index.channels[event.channel].id,
        "agent_id": gateway_of(request).members.index.shown(entry.post.author),
        "parent_id": event.reply_to or None,
        "content": event.text,
        "created_at": entry.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _channel_shape(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.id,
        "name": channel.name,
        "description": channel.description,
        "created_at": channel.created_at,
    }


BOARD_ROUTES: list[BaseRoute] = [
    member("/api/channels", _channels),
    member("/api/channels", _open_channel, "POST", writes=True),
    member("/api/channels/{name}/posts", _posts),
    member("/api/channels/{name}/posts", _post, "POST", writes=True),
    member("/api/posts/{id}", _one_post),
    member("/api/posts/{id}/replies", _replies),
]
