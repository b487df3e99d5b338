"""Posts, entries, subjects and bytes: the form of a fact in the log.

This is the only module that builds subjects: `mesh.<arena>.<noun>.<verb>.<key>.<author>`. The author comes last, so
that a server's permissions can restrict who posts. The key before it makes compare-and-set cheap.
`live.<arena>.<topic>` is plain NATS for live messages, which are not facts. On `tail.<subject>` the server repeats each
entry that it has stored. Reading never fails: an entry that cannot be decoded keeps its raw bytes and has no post.
"""

import datetime as dt
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, Self

import msgspec
import uuid_utils
from msgspec import Meta

from mesh.bounds import MAX_INTEGER, Word, not_finite, pattern_in_words
from mesh.errors import BadInput
from mesh.events import KINDS, AnyEvent, ArenaClosed, ArenaOpened, kind_of
from mesh.spec import as_set, unusable

MAX_POST_BYTES = 256 * 1024
"""Bytes of an encoded post; far below the server's default payload limit of 1 MiB."""

HUB_LOG, HUB_AUTHOR = "_hub", "gateway"
"""The log of a hub itself, which has its members, and who posts there; it is not an arena."""

YEARS = (_FIRST_YEAR, _LAST_YEAR) = (1900, 2999)
"""Years of the time of a post: every reader's calendar has them in every time zone."""

TAIL_PREFIX = "tail."
"""What precedes the subject of an entry where the server repeats it once it is stored."""

_ONE = r"[A-Za-z0-9_-]{1,128}"
_TOKEN = re.compile(_ONE)
_IS_KEY = {1: _TOKEN.fullmatch, 2: re.compile(rf"{_ONE}\.{_ONE}").fullmatch}
"""By the number of its tokens, what matches a key."""
_PREFIX, _LIVE, _OBJECTS, _GROUPS, _CALLS = "mesh", "live", "meshobj", "meshgrp", "meshcall"


class Post(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The envelope of a fact: its author, its time, and the post that led to it."""

    id: Word
    at: Annotated[dt.datetime, Meta(tz=True)]
    author: Word
    cause: Word = ""
    event: AnyEvent

    @classmethod
    def new(cls, author: str, event: AnyEvent, *, cause: str = "") -> Self:
        """Return a post of `event` with the present time and a new id (uuid7: sortable by time).

        Args:
            author: name of the agent, worker or person that posts.
            event: the fact.
            cause: id of the post that led to this one, "" if there is none.
        """
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


class Subject(msgspec.Struct, frozen=True, gc=False):
    """A parsed subject; `key` may be several tokens."""

    arena: str
    kind: str
    key: str
    author: str


class Pattern(msgspec.Struct, frozen=True):
    """The entries that a reader wants, by kind, key and author; "" is any, and a token of the key may be `*`."""

    kind: str = ""
    key: str = ""
    author: str = ""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry of the log: its sequence, the server's time, and its post (None: it cannot be decoded)."""

    seq: int
    time: dt.datetime
    subject: Subject
    post: Post | None
    raw: bytes


_TOO_LONG = re.compile(r"Expected `str` of length <= (\d+) - at `\$\.event\.(\w+)`")
_OF_KIND = {kind: (tag, _IS_KEY[kind.key_tokens], kind in (ArenaOpened, ArenaClosed)) for tag, kind in KINDS.items()}
"""By the type of a fact: its tag, what matches its key, and whether it is about a version of an arena."""
_ENCODE = msgspec.json.Encoder()
_DECODE = msgspec.json.Decoder(Post)


def check_token(what: str, value: str) -> str:
    """Return `value` if it can be one token of a subject.

    Args:
        what: what the value is, for the error.
        value: the value.

    Raises:
        BadInput: it has characters other than letters, digits, `_` and `-`, or is empty or too long.
    """
    if not _TOKEN.fullmatch(value):
        raise BadInput(f"{what} is {value[:60]!r}; use 1 to 128 letters, digits, '_' and '-'")
    return value


def subject_of(arena: str, post: Post) -> str:
    """Return the subject of `post` in the log of `arena`."""
    return f"{_PREFIX}.{arena}.{post.kind}.{post.key}.{post.author}"


def key_filter(arena: str, post: Post) -> str:
    """Return the subject filter that may match only one fact: all subjects with the key of `post`."""
    last = post.author if post.event.one_per_author else "*"
    return f"{_PREFIX}.{arena}.{post.kind}.{post.key}.{last}"


def kind_filter(arena: str, kind: str) -> str:
    """Return the subject filter for a kind, or a kind with leading key tokens such as `run.requested.explore`."""
    if ".".join(kind.split(".")[:2]) not in KINDS:
        raise BadInput(f"there is no fact of kind {kind!r}; use {', '.join(KINDS)}")
    return f"{_PREFIX}.{arena}.{kind}.>"


def pattern_filters(arena: str, pattern: Pattern) -> list[str]:
    """Return the subject filters of the entries that `pattern` matches.

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
    """Tell whether any of the patterns matches a subject."""
    return any(
        pattern.kind in ("", where.kind)
        and pattern.author in ("", where.author)
        and (not pattern.key or _is_key(where.key, pattern.key))
        for pattern in patterns
    )


def _is_key(key: str, wanted: str) -> bool:
    tokens, parts = key.split("."), wanted.split(".")
    return len(tokens) == len(parts) and all(part in ("*", token) for token, part in zip(tokens, parts, strict=True))


def author_filter(arena: str, kind: str, author: str) -> str:
    """Return the subject filter for the facts of a kind that `author` posts; both may be templates of permissions."""
    keys = ".".join("*" * KINDS[kind].key_tokens)
    return f"{_PREFIX}.{arena}.{kind}.{keys}.{author}"


def arena_filter(arena: str) -> str:
    """Return the subject filter for the whole log of an arena."""
    return f"{_PREFIX}.{arena}.>"


def live_subject(arena: str, topic: str) -> str:
    """Return the plain-NATS subject of live messages: growing learning curves, questions to services."""
    return f"{_LIVE}.{arena}.{topic}"


def object_subject(arena: str, name: str, chunk: int) -> str:
    """Return the subject of one chunk of a content-addressed object."""
    return f"{_OBJECTS}.{arena}.{name}.{chunk}"


def objects_filter(arena: str) -> str:
    """Return the subject filter for all objects of an arena."""
    return f"{_OBJECTS}.{arena}.>"


def group_subject(arena: str, name: str, chunk: int) -> str:
    """Return the subject of one chunk of a group of objects."""
    return f"{_GROUPS}.{arena}.{name}.{chunk}"


def groups_filter(arena: str) -> str:
    """Return the subject filter for all groups of objects of an arena."""
    return f"{_GROUPS}.{arena}.>"


def call_subject(arena: str, name: str) -> str:
    """Return the subject of the object of a model call."""
    return f"{_CALLS}.{arena}.{name}"


def parse_subject(subject: str) -> Subject | None:
    """Return the parts of a subject, None if it is not the subject of a fact."""
    parts = subject.split(".")
    if len(parts) < 6 or parts[0] != _PREFIX:
        return None
    key = parts[4] if len(parts) == 6 else ".".join(parts[4:-1])
    return Subject(parts[1], f"{parts[2]}.{parts[3]}", key, parts[-1])


def encode(post: Post) -> bytes:
    """Return the JSON bytes of a post.

    Raises:
        BadInput: the post is larger than `MAX_POST_BYTES`, its key or author cannot be in a subject, or no reader could
            decode a field (NaN, a value out of its bounds). Entries in the log cannot be removed.
    """
    check_token("author", post.author)
    for token in _key_tokens(post):
        check_token(f"key of {post.kind}", token)
    try:
        data = _ENCODE.encode(_as_written(post))
        if len(data) > MAX_POST_BYTES:
            raise BadInput(f"a {post.kind} has {len(data):,} bytes; use at most {MAX_POST_BYTES:,}")
        read = _DECODE.decode(data)
        trouble = "" if read == post else not_finite(msgspec.to_builtins(post.event), "$.event")
        trouble = trouble or _not_in_calendar(post)
    except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError, RecursionError) as error:
        trouble = pattern_in_words(str(error))
    if found := _TOO_LONG.fullmatch(trouble):
        raise BadInput(f"{found[2]} of {post.kind} is too long: use at most {int(found[1]):,} characters")
    if trouble:
        cure = "use Unicode text and numbers in the bounds of docs/events.md"
        raise BadInput(f"a reader cannot decode this {post.kind}: {trouble}; {cure}")
    return data


def _as_written(post: Post) -> Any:
    if not isinstance(post.event, ArenaOpened):
        return post
    fields: dict[str, Any] = msgspec.to_builtins(post)
    fields["event"]["spec"] = as_set(post.event.spec)
    return fields


def _not_in_calendar(post: Post) -> str:
    """Return a sentence if readers cannot hold the time of a post, else ""."""
    first, last = YEARS
    return "" if first <= post.at.year <= last else f"its year is {post.at.year}, outside of {first} to {last}"


def _key_tokens(post: Post) -> list[str]:
    return post.key.split(".", post.event.key_tokens - 1)


def decode(subject: str, data: bytes) -> Post | None:
    """Return the post in `data`, None if it is unknown, malformed, or does not match its subject.

    The server checks only the subject. So a post is refused if its author, kind or key differ from its subject, or if
    `encode` would refuse it.
    """
    return entry(MAX_INTEGER, dt.datetime.now(dt.UTC), subject, data).post


def entry_row(entry: Entry) -> dict[str, Any]:
    """Return an entry for JSON, with the whole post, or its raw text if it is not understood."""
    post = msgspec.to_builtins(entry.post) if entry.post else entry.raw.decode("utf-8", "replace")
    where = entry.subject
    return {"seq": entry.seq, "time": entry.time, "kind": where.kind, "author": where.author, "post": post}


def entry(seq: int, time: dt.datetime, subject: str, data: bytes) -> Entry:
    """Return one entry of the log, as `log_entries`."""
    return log_entries((seq,), (time,), (subject,), (data,))[0]


def log_entries(
    seqs: Iterable[int], times: Iterable[dt.datetime], subjects: Iterable[str], data: Iterable[bytes]
) -> list[Entry]:
    """Return entries of a log; it never fails.

    Each version of an arena is an entry of its log. So a version above `seq` is not believed: otherwise one fact with
    the greatest version could keep all later versions from ever being opened. Nor is a specification that no worker can
    use.

    Args:
        seqs: their sequences.
        times: the server's times.
        subjects: their subjects.
        data: their bytes.
    """
    found: list[Entry] = []
    arena = prefix = ""
    for seq, time, subject, raw in zip(seqs, times, subjects, data, strict=True):
        if not prefix or not subject.startswith(prefix):  # those of one log have the same
            arena, prefix = _arena_of(subject)
        try:
            post = _DECODE.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            found.append(_unread(seq, time, subject, raw))
            continue
        event, author = post.event, post.author
        tag, is_key, is_version = _OF_KIND[type(event)]
        key = event.key(post.id)
        is_post = subject == f"{prefix}{tag}.{key}.{author}" and is_key(key) and _is_author(author)
        is_post = is_post and _FIRST_YEAR <= post.at.year <= _LAST_YEAR and len(raw) <= MAX_POST_BYTES
        if is_post and not (is_version and _is_unbelievable(event, seq)):
            found.append(Entry(seq, time, Subject(arena, tag, key, author), post, raw))
        else:
            found.append(_unread(seq, time, subject, raw))
    return found


def _arena_of(subject: str) -> tuple[str, str]:
    """Return the arena of a subject, and what precedes the kind in the subjects of its facts."""
    arena = subject.removeprefix(f"{_PREFIX}.").partition(".")[0]
    return arena, f"{_PREFIX}.{arena}."


def _unread(seq: int, time: dt.datetime, subject: str, data: bytes) -> Entry:
    """Return an entry that is not understood."""
    where = parse_subject(subject) or Subject(arena="", kind=subject, key="", author="")
    return Entry(seq, time, where, None, data)


@lru_cache(maxsize=1024)
def _is_author(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None


def _is_unbelievable(event: AnyEvent, seq: int) -> bool:
    """Tell whether a fact about a version of an arena, in entry `seq`, is not believed."""
    match event:
        case ArenaOpened():
            return event.version > seq or bool(unusable(event.spec))
        case ArenaClosed():
            return event.version > seq
    return False
