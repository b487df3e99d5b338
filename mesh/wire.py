"""Posts, entries, subjects and bytes: how a fact looks on the log.

The only module in which a subject is spelled. `mesh.<arena>.<noun>.<verb>.<key>.<author>`: the author stands last so
that a broker permission can pin who speaks; the key before it makes compare-and-set cheap. `live.<arena>.<topic>` is
plain NATS for what is not a fact. Reading never fails: what cannot be decoded keeps its raw bytes and has no post.
"""

import datetime as dt
import re
from collections.abc import Iterable
from typing import Annotated, Self

import msgspec
import uuid_utils
from msgspec import Meta

from mesh.errors import BadInput
from mesh.events import KINDS, AnyEvent, kind_of

MAX_POST_BYTES = 256 * 1024
"""Bytes of an encoded post; far below the server's default payload limit of 1 MiB."""

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PREFIX, _LIVE, _OBJECTS = "mesh", "live", "meshobj"


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """The envelope: who says what, when, and because of which post.

    `id` is a uuid7; `at` is the author's clock in UTC; `cause` is the id of the post that led to this one, or "".
    """

    id: str
    at: Annotated[dt.datetime, Meta(tz=True)]
    author: str
    cause: str = ""
    event: AnyEvent

    @classmethod
    def new(cls, author: str, event: AnyEvent, *, cause: str = "") -> Self:
        """Make a post of `event` now, with a fresh id (uuid7: sortable by time)."""
        check_token("author", author)
        now = dt.datetime.now(dt.UTC)
        return cls(id=str(uuid_utils.uuid7()), at=now, author=author, cause=cause, event=event)

    @property
    def kind(self) -> str:
        """The tag of the fact."""
        return kind_of(self.event)

    @property
    def key(self) -> str:
        """The subject tokens that make the fact unique."""
        return self.event.key(self.id)


class Subject(msgspec.Struct, frozen=True):
    """A parsed subject; `key` may be several tokens."""

    arena: str
    kind: str
    key: str
    author: str


class Pattern(msgspec.Struct, frozen=True):
    """Which entries a reader wants: of a kind, a key and an author, where "" is any; a token of the key may be `*`."""

    kind: str = ""
    key: str = ""
    author: str = ""


class Entry(msgspec.Struct, frozen=True):
    """One entry of the log: its place, the server's time, and the post where it can be decoded."""

    seq: int
    time: dt.datetime
    subject: Subject
    post: Post | None
    raw: bytes


_ENCODE = msgspec.json.Encoder()
_DECODE = msgspec.json.Decoder(Post)


def check_token(what: str, value: str) -> str:
    """Return `value` if it can be one token of a subject.

    Raises:
        BadInput: it holds other characters than letters, digits, `_` and `-`, or is empty or too long.
    """
    if not _TOKEN.fullmatch(value):
        raise BadInput(f"{what} {value[:60]!r} may only hold letters, digits, '_' and '-' (1 to 128 of them)")
    return value


def subject_of(arena: str, post: Post) -> str:
    """Return the subject under which `post` stands in the log of `arena`."""
    return f"{_PREFIX}.{arena}.{post.kind}.{post.key}.{post.author}"


def key_filter(arena: str, post: Post) -> str:
    """Return the subject filter under which only one fact may stand: that of the key, whoever its author."""
    last = post.author if post.event.one_per_author else "*"
    return f"{_PREFIX}.{arena}.{post.kind}.{post.key}.{last}"


def kind_filter(arena: str, kind: str) -> str:
    """Return the subject filter for a kind, or a kind with leading key tokens such as `run.requested.explore`."""
    if ".".join(kind.split(".")[:2]) not in KINDS:
        raise BadInput(f"there is no fact of kind {kind!r}; kinds are {', '.join(KINDS)}")
    return f"{_PREFIX}.{arena}.{kind}.>"


def pattern_filters(arena: str, pattern: Pattern) -> list[str]:
    """Return the subject filters for what `pattern` wants.

    Raises:
        BadInput: its kind is unknown, or a part of it cannot be in a subject.
    """
    for token in filter("*".__ne__, pattern.key.split(".") if pattern.key else ()):
        check_token("key", token)
    author = check_token("author", pattern.author) if pattern.author else "*"
    if not pattern.kind:
        keys = [pattern.key] if pattern.key else ["*", "*.*"]
        return [f"{_PREFIX}.{arena}.*.*.{key}.{author}" for key in keys]
    everything = kind_filter(arena, pattern.kind)
    if not pattern.key and not pattern.author:
        return [everything]
    key = pattern.key or ".".join("*" * KINDS[pattern.kind].key_tokens)
    return [f"{_PREFIX}.{arena}.{pattern.kind}.{key}.{author}"]


def is_wanted(where: Subject, patterns: Iterable[Pattern]) -> bool:
    """Tell whether any of the patterns wants what stands under a subject."""
    return any(
        pattern.kind in ("", where.kind)
        and pattern.author in ("", where.author)
        and (not pattern.key or _is_key(where.key, pattern.key))
        for pattern in patterns
    )


def _is_key(key: str, wanted: str) -> bool:
    tokens, parts = key.split("."), wanted.split(".")
    return len(tokens) == len(parts) and all(part in ("*", token) for token, part in zip(tokens, parts, strict=True))


def arena_filter(arena: str) -> str:
    """Return the subject filter for the whole log of an arena."""
    return f"{_PREFIX}.{arena}.>"


def live_subject(arena: str, topic: str) -> str:
    """Return the plain-NATS subject of what is not a fact: curves while they grow, questions to services."""
    return f"{_LIVE}.{arena}.{topic}"


def object_subject(arena: str, name: str, chunk: int) -> str:
    """Return the subject of one chunk of a content-addressed object."""
    return f"{_OBJECTS}.{arena}.{name}.{chunk}"


def objects_filter(arena: str) -> str:
    """Return the subject filter for all objects of an arena."""
    return f"{_OBJECTS}.{arena}.>"


def parse_subject(subject: str) -> Subject | None:
    """Return the parts of a subject, None where it has too few of them."""
    parts = subject.split(".")
    if len(parts) < 6 or parts[0] != _PREFIX:
        return None
    return Subject(arena=parts[1], kind=f"{parts[2]}.{parts[3]}", key=".".join(parts[4:-1]), author=parts[-1])


def encode(post: Post) -> bytes:
    """Return the JSON bytes of a post.

    Raises:
        BadInput: the post is larger than `MAX_POST_BYTES`, its key or author cannot be in a subject, or a field holds
            what no reader would take (NaN, a value out of its bounds): what is in the log cannot be taken back.
    """
    check_token("author", post.author)
    for token in _key_tokens(post):
        check_token(f"key of {post.kind}", token)
    try:
        data = _ENCODE.encode(post)
        if len(data) <= MAX_POST_BYTES:
            _DECODE.decode(data)
            return data
    except (msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise BadInput(f"a {post.kind} could not be read back: {error} (text is Unicode, numbers finite)") from None
    raise BadInput(f"a {post.kind} of {len(data):,} bytes is too large: at most {MAX_POST_BYTES:,} bytes are kept")


def _key_tokens(post: Post) -> list[str]:
    return post.key.split(".", post.event.key_tokens - 1)


def decode(subject: str, data: bytes) -> Post | None:
    """Return the post in `data`, None where it is unknown, malformed, or does not match its subject.

    The subject is what the server checks, so a post that names another author, kind or key than its subject is not
    believed, nor one whose author or key `encode` would have refused.
    """
    try:
        post = _DECODE.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    where = parse_subject(subject)
    if where is None or where != Subject(where.arena, post.kind, post.key, post.author):
        return None
    return post if all(map(_TOKEN.fullmatch, (post.author, *_key_tokens(post)))) else None


def entry(seq: int, time: dt.datetime, subject: str, data: bytes) -> Entry:
    """Make an entry of what the log holds under `seq`; never fails."""
    where = parse_subject(subject) or Subject(arena="", kind=subject, key="", author="")
    return Entry(seq, time, where, decode(subject, data), data)
