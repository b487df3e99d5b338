"""The catalogue of facts, and how a fact looks on the log: envelope, subjects, limits, and what is not believed."""

import datetime as dt
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from mesh import arena_page, events, events_page, spec, wire
from mesh.errors import BadInput
from mesh.events import (
    KINDS,
    LANES,
    AgentJoined,
    AnyEvent,
    ArenaClosed,
    BudgetGranted,
    CritiquePosted,
    CurvePoint,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalRetired,
    RunFinished,
    RunRequested,
    RunStarted,
    Scored,
    kind_of,
)
from mesh.meanings import FIELDS, SHARED, meaning
from mesh.testing import git_hash
from mesh.wire import MAX_POST_BYTES, Entry, Post, Subject
from tests.support.extremes import ODD_IDS
from tests.test_golden import POSTS

TREE = git_hash("tree")
NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
CLOSED = ArenaClosed(version=3, reason="plateau")


def proposal(tree: str) -> ProposalPosted:
    return ProposalPosted(tree=tree, commit=git_hash("c"), title="t", origin=Origin(how="human"))


def request(run: str) -> RunRequested:
    return RunRequested(run=run, lane="audit", proposal=TREE, commit=git_hash("c"), seed=1, budget_s=1, deadline_s=2)


def finish(value: float, curve: tuple[CurvePoint, ...] = ()) -> RunFinished:
    scored = Scored(value=value)
    return RunFinished(run="r", proposal=TREE, outcome=scored, worker="w", worker_class="cpu", curve=curve)


def say(event: AnyEvent, author: str = "ann") -> Post:
    return Post(id="0190-1", at=NOW, author=author, event=event)


@pytest.mark.parametrize("post", POSTS, ids=lambda post: post.kind)
def test_a_fact_comes_back_from_its_bytes_as_it_was(post: Post) -> None:
    assert wire.decode(wire.subject_of("a", post), wire.encode(post)) == post


def test_the_tag_of_a_fact_is_its_only_name() -> None:
    for post in POSTS:
        subject = wire.parse_subject(wire.subject_of("a", post))
        wired = msgspec.json.decode(wire.encode(post))
        assert subject == Subject("a", kind_of(post.event), post.key, post.author)
        assert wired["event"]["kind"] == post.kind == kind_of(post.event)
        assert KINDS[post.kind] is type(post.event)
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+(ed|t)", tag) for tag in KINDS)


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (CLOSED, "3"),
        (AgentJoined(boot="b1", role="critic"), "b1"),
        (proposal(TREE), TREE),
        (CritiquePosted(target=TREE, verdict="warn"), TREE),
        (request("r1"), "audit.r1"),
        (RunStarted(run="r1", attempt=2, worker="w"), "r1-2"),
        (finish(1), "r"),
        (ProposalRetired(proposal=TREE, round=4, why="failed"), f"{TREE}-4"),
        (NotePosted(channel="c", text="t"), "0190-1"),
        (BudgetGranted(n=5), "5"),
    ],
)
def test_what_makes_a_fact_unique_is_its_key(event: AnyEvent, key: str) -> None:
    assert say(event).key == key
    assert wire.subject_of("a", say(event)) == f"mesh.a.{kind_of(event)}.{key}.ann"


def test_a_key_is_held_by_one_author_but_every_critic_has_a_word() -> None:
    assert wire.key_filter("a", say(CLOSED)) == "mesh.a.arena.closed.3.*"
    critique = CritiquePosted(target=TREE, verdict="warn")
    assert wire.key_filter("a", say(critique)) == f"mesh.a.critique.posted.{TREE}.ann"


def test_work_is_filtered_by_kind_and_lane() -> None:
    assert [wire.kind_filter("a", f"run.requested.{lane}") for lane in LANES] == [
        "mesh.a.run.requested.confirm.>",
        "mesh.a.run.requested.control.>",
        "mesh.a.run.requested.sealed.>",
        "mesh.a.run.requested.audit.>",
        "mesh.a.run.requested.explore.>",
    ]
    with pytest.raises(BadInput, match=r"^there is no fact of kind 'run.begun'; use arena.opened, "):
        wire.kind_filter("a", "run.begun")


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        (
            "mesh.a.run.begun.r1.ann",
            b'{"id":"1","at":"2026-11-24T08:00:00Z","author":"ann","event":{"kind":"run.begun"}}',
        ),
        ("mesh.a.arena.closed.3.ann", wire.encode(say(CLOSED))[:-1]),
        ("mesh.a.arena.closed.3.ann", wire.encode(say(CLOSED)).replace(b"plateau", b"\xff\xfe")),
        ("mesh.a.arena.closed.3.ann", wire.encode(say(CLOSED)).replace(b"plateau", b"boredom")),
        ("mesh.a.arena.closed.3.ann", wire.encode(say(CLOSED)).replace(b":00Z", b":00")),
        ("mesh.a.arena.closed.3.ann", b"[" * 100_000),
        ("mesh.a.arena.closed.3.ann", b""),
        ("mesh.a.arena.closed.3.bob", wire.encode(say(CLOSED))),
        ("mesh.a.arena.closed.4.ann", wire.encode(say(CLOSED))),
        ("mesh.a.arena.opened.3.ann", wire.encode(say(CLOSED))),
        ("mesh.a.note.posted.0190-1.eve.ann", msgspec.json.encode(say(NotePosted(channel="c", text="t"), "eve.ann"))),
        ("mesh.a.proposal.posted./etc.ann", msgspec.json.encode(say(proposal("/etc")))),
        ("mesh.a", wire.encode(say(CLOSED))),
        ("", b"\x00"),
    ],
    ids=[
        "unknown tag",
        "cut off",
        "no UTF-8",
        "unknown word",
        "time without a zone",
        "nested too deep",
        "empty",
        "another author",
        "another key",
        "another kind",
        "an author of two tokens",
        "a key that is a path",
        "a short subject",
        "no subject",
    ],
)
def test_what_cannot_be_believed_keeps_its_bytes_and_has_no_post(subject: str, data: bytes) -> None:
    entry = wire.entry(7, NOW, subject, data)
    where = wire.parse_subject(subject) or Subject("", subject, "", "")
    assert entry == Entry(7, NOW, where, None, data)


def test_fields_of_a_newer_version_are_ignored() -> None:
    wired = msgspec.json.decode(wire.encode(say(finish(0.5))))
    wired["signature"] = "s"
    wired["event"]["carbon_g"] = 3
    wired["event"]["outcome"]["rank"] = 1
    assert wire.decode("mesh.a.run.finished.r.ann", msgspec.json.encode(wired)) == say(finish(0.5))


def test_fields_that_an_older_version_did_not_write_have_their_defaults() -> None:
    data = b'{"id":"0190-1","at":"2026-11-24T08:00:00Z","author":"ann","event":{"kind":"budget.granted","n":5}}'
    assert wire.decode("mesh.a.budget.granted.5.ann", data) == say(BudgetGranted(n=5))


def test_the_largest_post_is_kept_and_one_byte_more_is_refused_in_one_sentence() -> None:
    room = MAX_POST_BYTES - len(wire.encode(say(NotePosted(channel="c", text=""))))
    assert len(wire.encode(say(NotePosted(channel="c", text="x" * room)))) == MAX_POST_BYTES
    sentence = "^a note.posted has 262,145 bytes; use at most 262,144$"
    with pytest.raises(BadInput, match=sentence):
        wire.encode(say(NotePosted(channel="c", text="x" * (room + 1))))


@pytest.mark.parametrize("bad", ["", "a b", "a.b", "*", ">", "a\n", "a\x00", "a/b", "é", "x" * 129])
def test_what_cannot_be_one_token_of_a_subject_is_refused_in_one_sentence(bad: str) -> None:
    rule = re.escape(f"{bad[:60]!r}; use 1 to 128 letters, digits, '_' and '-'")
    with pytest.raises(BadInput, match=f"^author is {rule}$"):
        Post.new(bad, CLOSED)
    with pytest.raises(BadInput, match=f"^author is {rule}$"):
        wire.encode(say(CLOSED, bad))
    with pytest.raises(BadInput, match=f"^key of proposal.posted is {rule}$"):
        wire.encode(say(proposal(bad)))
    with pytest.raises(BadInput, match=f"^key of run.requested is {rule}$"):
        wire.encode(say(request(bad)))
    with pytest.raises(BadInput, match=f"^key of note.posted is {rule}$"):
        wire.encode(Post(id=bad, at=NOW, author="ann", event=NotePosted(channel="c", text="t")))


@pytest.mark.parametrize(
    ("event", "where"),
    [
        (finish(math.nan), "$.event.outcome.value"),
        (finish(1, (CurvePoint(1, math.inf, 0.5),)), "$.event.curve[0][1]"),
        (CritiquePosted(target="t", verdict="warn", confidence=1.5), "$.event.confidence"),
        (ArenaClosed(version=0, reason="budget"), "$.event.version"),
        (NotePosted(channel="c", text="\udcff"), "surrogates not allowed"),
    ],
    ids=["NaN", "infinite", "out of bounds", "no version", "no Unicode"],
)
def test_a_fact_that_no_reader_would_take_is_refused_before_it_holds_its_key(event: AnyEvent, where: str) -> None:
    with pytest.raises(BadInput, match=f"^a reader cannot decode this {kind_of(event)}: .*{re.escape(where)}"):
        wire.encode(say(event))


PROPOSAL_IDS = {
    "proposal.posted": ("tree", "parents"),
    "run.requested": ("proposal",),
    "run.finished": ("proposal",),
    "proposal.promoted": ("proposal", "met"),
    "proposal.retired": ("proposal", "met"),
    "arena.opened": ("base_tree",),
}
"""The fields that name proposals."""


def with_id(kind: str, field: str, name: str) -> Post:
    """A fact of this kind that names a proposal so."""
    said = next(post for post in POSTS if post.kind == kind)
    return msgspec.structs.replace(
        said, event=msgspec.structs.replace(said.event, **{field: (name,) if field == "parents" else name})
    )


def is_understood(post: Post) -> bool:
    """Whether a reader takes it that a stranger posts raw."""
    subject = f"mesh.a.{post.kind}.{post.key}.{post.author}"
    return wire.entry(9, NOW, subject, msgspec.json.encode(post)).post is not None


@pytest.mark.parametrize("bad", ODD_IDS)
@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in PROPOSAL_IDS.items() for field in fields]
)
def test_what_names_a_proposal_has_40_hex_digits_or_is_not_understood(kind: str, field: str, bad: str) -> None:
    assert is_understood(with_id(kind, field, TREE))
    post = with_id(kind, field, bad)
    assert not is_understood(post)
    with pytest.raises(
        BadInput, match=f"^(a reader cannot decode this|key of) {kind}.*(40 hex digits|letters, digits)"
    ):
        wire.encode(post)


def test_only_the_champion_that_was_met_may_be_no_proposal() -> None:
    fields = [(kind, field) for kind, fields in PROPOSAL_IDS.items() for field in fields]
    assert [(kind, field) for kind, field in fields if is_understood(with_id(kind, field, ""))] == [
        ("proposal.promoted", "met"),
        ("proposal.retired", "met"),
    ]


def test_new_posts_have_ids_in_the_order_of_time() -> None:
    posts = [Post.new("ann", CLOSED, cause="c") for _ in range(100)]
    assert [post.id for post in posts] == sorted({post.id for post in posts})
    assert {(post.author, post.cause, post.at.tzinfo) for post in posts} == {("ann", "c", dt.UTC)}


def test_the_page_of_facts_says_what_the_code_says() -> None:
    page = Path(__file__).parents[1] / "docs" / "events.md"
    assert page.read_text(encoding="utf-8") == events_page.render(), "run `make events`"
    printed = subprocess.run([sys.executable, "-m", "mesh.events_page"], capture_output=True, check=True)
    assert printed.stdout == page.read_bytes()


def test_the_page_of_arena_toml_is_what_the_code_says() -> None:
    page = Path(__file__).parents[1] / "docs" / "reference" / "arena.md"
    assert page.read_text(encoding="utf-8") == arena_page.render(), "run `make events`"


def test_every_field_has_a_meaning_and_every_meaning_a_field() -> None:
    structs = {struct.__name__: struct for struct in _structs()}
    fields = {name: set(struct.__struct_fields__) for name, struct in structs.items()}
    without = [f"{name}.{f}" for name, fs in fields.items() for f in sorted(fs) if not meaning(structs[name], f)]
    assert without == [], "add them to mesh/meanings.py"
    assert [f"{name}.{f}" for name in FIELDS for f in FIELDS[name] if f not in fields.get(name, ())] == []
    assert SHARED.keys() <= set().union(*fields.values())


def _structs() -> Iterator[type[msgspec.Struct]]:
    """Every struct that may stand in a post, and the post."""
    known = {found for module in (events, spec, wire) for found in vars(module).values() if isinstance(found, type)}
    pages = events_page.render() + arena_page.render()
    for struct in sorted((s for s in known if issubclass(s, msgspec.Struct)), key=lambda s: s.__name__):
        if struct in KINDS.values() or f"\n### {struct.__name__}\n" in pages or struct is Post:
            yield struct


def test_the_page_of_facts_names_every_fact_its_subject_and_its_fields() -> None:
    page = events_page.render()
    for tag, event in KINDS.items():
        section = page.split(f"\n## {tag}\n")[1].split("\n## ")[0]
        assert f"* subject: `mesh.<arena>.{tag}.<" in section
        assert set(event.__struct_encode_fields__) <= set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
