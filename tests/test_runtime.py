"""The loop that runs agents, over the bus in memory."""

import datetime as dt
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

from mesh.agent.draft import Draft
from mesh.agent.runtime import MAX_FAILURES, Seat, run_agents
from mesh.board import Board
from mesh.code import CodeStore
from mesh.errors import Leaving
from mesh.events import (
    AgentJoined,
    AgentLeft,
    AnyEvent,
    ArenaOpened,
    CritiquePosted,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalRetired,
)
from mesh.memory import MemoryBus, MemoryHub
from mesh.testing import content_hash
from mesh.wire import Entry, Pattern, Post
from tests.test_worker import SPEC

Answer = Callable[[Post, Board], Awaitable[Sequence[AnyEvent]]]
OPENED = ArenaOpened(version=1, spec=SPEC, base_commit="0" * 40, base_tree="0" * 40, evaluator=content_hash("e"))


class Listener:
    """An agent that hears notes, keeps what people asked it, and answers as it is told."""

    listens: ClassVar[tuple[str, ...]] = ("note.posted",)

    def __init__(self, answer: Answer | None = None) -> None:
        self.asked: list[str] = []
        self.answer = answer

    async def handle(self, post: Post, board: Board) -> Sequence[AnyEvent]:
        if post.author == "people":
            self.asked.append(words(post))
        return await self.answer(post, board) if self.answer else []


class Beginner(Listener):
    """Also notes when it begins; `begin` may keep it waiting there."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__(answer)
        self.begun, self.go_on = anyio.Event(), anyio.Event()

    async def joined(self, board: Board) -> Sequence[AnyEvent]:
        self.asked.append("joined")
        self.begun.set()
        await self.go_on.wait()
        return [say("hello")]


class LatestBeginner(Beginner):
    only_latest: ClassVar[bool] = True


class Clock(Listener):
    """Says once that time has passed."""

    every_s: ClassVar[float] = 0.001

    async def tick(self, now: dt.datetime, board: Board) -> Sequence[AnyEvent]:
        return [] if board.notes else [say("time has passed")]


def say(text: str) -> NotePosted:
    return NotePosted(channel="general", text=text)


def words(post: Post) -> str:
    return post.event.text if isinstance(post.event, NotePosted) else post.kind


class SlowBus(MemoryBus):
    """A bus whose readers hear of a post long after it was taken."""

    async def read(
        self, after: int = 0, *, follow: bool = False, until: int | None = None, only: Sequence[Pattern] = ()
    ) -> AsyncGenerator[list[Entry]]:
        async with aclosing(super().read(after, follow=follow, until=until, only=only)) as batches:
            async for batch in batches:
                for _ in range(50):
                    await anyio.lowlevel.checkpoint()
                yield batch


async def echo(post: Post, board: Board) -> Sequence[AnyEvent]:
    return [say(f"heard {words(post)}")] if post.author == "people" else []


async def fail(post: Post, board: Board) -> Sequence[AnyEvent]:
    raise RuntimeError("out of ideas")


@pytest.fixture
async def bus() -> MemoryBus:
    return await MemoryHub().arena("a", create=True)


@pytest.fixture
def code(tmp_path: Path, bus: MemoryBus) -> CodeStore:
    return CodeStore(tmp_path / "code.git", bus)


@asynccontextmanager
async def running(bus: MemoryBus, code: CodeStore, agents: dict[str, Listener]) -> AsyncIterator[None]:
    """Agents by name, for as long as the block lasts."""
    seats = [Seat(name, agent) for name, agent in agents.items()]
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                await run_agents(bus, seats, code, pause_s=0.001)

            tasks.start_soon(run)
            joined = {seat.joined.id for seat in seats}
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    joined -= {entry.post.id for entry in batch if entry.post}
                    if not joined:
                        break
            yield
            tasks.cancel_scope.cancel()


async def said(bus: MemoryBus, kind: type[AnyEvent], count: int, author: str = "") -> list[Post]:
    """The first posts of a kind, as soon as there are so many."""
    found: list[Post] = []
    with anyio.fail_after(60):
        async with aclosing(bus.read(follow=True)) as batches:
            async for batch in batches:
                posts = [entry.post for entry in batch if entry.post]
                found += [p for p in posts if isinstance(p.event, kind) and author in ("", p.author)]
                if len(found) >= count:
                    break
    return found[:count]


async def people_say(bus: MemoryBus, *texts: str) -> list[str]:
    """Post notes and return the ids of the posts."""
    posts = [Post.new("people", say(text)) for text in texts]
    await bus.post_all(posts)
    return [post.id for post in posts]


async def test_answers_name_the_post_that_led_to_them(bus: MemoryBus, code: CodeStore) -> None:
    async with running(bus, code, {"ann": Listener(echo)}):
        [one, two] = await people_say(bus, "one", "two")
        answers = await said(bus, NotePosted, 2, "ann")
    assert [(post.cause, post.event) for post in answers] == [(one, say("heard one")), (two, say("heard two"))]


async def test_an_agent_is_asked_once_the_board_has_folded_what_it_is_asked_about(
    bus: MemoryBus, code: CodeStore
) -> None:
    stood_at: dict[str, int] = {}

    async def note_the_board(post: Post, board: Board) -> Sequence[AnyEvent]:
        stood_at[post.id] = board.seq
        return await echo(post, board)

    async with running(bus, code, {"ann": Listener(note_the_board), "bob": Listener(note_the_board)}):
        await people_say(bus, *map(str, range(50)))
        await said(bus, NotePosted, 50, "ann")
        await said(bus, NotePosted, 50, "bob")
    async with aclosing(bus.read()) as batches:
        placed = {e.post.id: e.seq async for batch in batches for e in batch if e.post}
    assert [id_ for id_, seq in stood_at.items() if seq < placed[id_]] == []
    assert len(stood_at) >= 50


async def test_an_agent_sees_its_own_answer_before_it_is_asked_again(code: CodeStore) -> None:
    bus = SlowBus("a")
    answered: list[int] = []

    async def count(post: Post, board: Board) -> Sequence[AnyEvent]:
        if post.author != "people":
            return []
        answered.append(sum(each.startswith("ann ") for each in board.answered))
        return [say("counted")]

    async with running(bus, code, {"ann": Listener(count)}):
        await people_say(bus, "one", "two", "three")
        await said(bus, NotePosted, 3, "ann")
    assert answered == [0, 1, 2]


async def test_after_a_restart_an_agent_is_asked_about_nothing_old(bus: MemoryBus, code: CodeStore) -> None:
    first, second = Listener(echo), Listener(echo)
    async with running(bus, code, {"ann": first}):
        await people_say(bus, "before")
        await said(bus, NotePosted, 1, "ann")
    async with running(bus, code, {"ann": second}):
        await people_say(bus, "after")
        await said(bus, NotePosted, 2, "ann")
    assert (first.asked, second.asked) == (["before"], ["after"])


async def test_what_another_life_of_the_agent_has_answered_is_skipped(bus: MemoryBus, code: CodeStore) -> None:
    ann, bob = Beginner(echo), Listener(echo)
    async with running(bus, code, {"ann": ann, "bob": bob}):
        [one, _] = await people_say(bus, "one", "two")
        await bus.post(Post.new("ann", say("heard one"), cause=one))
        await people_say(bus, "three")
        await said(bus, NotePosted, 3, "bob")  # by now the board has all four
        ann.go_on.set()
        answers = await said(bus, NotePosted, 4, "ann")
    assert ann.asked == ["joined", "two", "three"]
    assert [words(post) for post in answers] == ["heard one", "hello", "heard two", "heard three"]


async def test_an_agent_for_which_the_board_decides_is_asked_about_the_latest_alone(
    bus: MemoryBus, code: CodeStore
) -> None:
    async def echo_others(post: Post, board: Board) -> Sequence[AnyEvent]:
        return [say(f"heard {words(post)}")] if post.author != "ann" else []

    ann, bob = LatestBeginner(echo_others), Listener(echo)
    async with running(bus, code, {"ann": ann, "bob": bob}):
        await ann.begun.wait()
        await people_say(bus, "one", "two", "three")
        await said(bus, NotePosted, 3, "bob")
        ann.go_on.set()
        await people_say(bus, "four")
        await said(bus, NotePosted, 2, "ann")
    assert ann.asked[0] == "joined"
    assert not {"one", "two"} & set(ann.asked)


async def test_an_agent_begins_once_and_its_word_names_the_post_that_it_joined_by(
    bus: MemoryBus, code: CodeStore
) -> None:
    ann = Beginner(echo)
    ann.go_on.set()
    async with running(bus, code, {"ann": ann}):
        [hello] = await said(bus, NotePosted, 1, "ann")
        await people_say(bus, "one")
        await said(bus, NotePosted, 2, "ann")
    [joined] = await said(bus, AgentJoined, 1)
    assert (ann.asked, hello.cause) == (["joined", "one"], joined.id)
    assert isinstance(joined.event, AgentJoined)
    assert joined.event.role == "beginner"  # the name of the class, where it says nothing else


async def test_an_agent_that_raises_says_so_and_all_go_on(bus: MemoryBus, code: CodeStore) -> None:
    async def fail_on_one(post: Post, board: Board) -> Sequence[AnyEvent]:
        return await (fail if words(post) == "one" else echo)(post, board)

    async with running(bus, code, {"ann": Listener(fail_on_one), "bob": Listener(echo)}):
        [one, two] = await people_say(bus, "one", "two")
        anns = await said(bus, NotePosted, 2, "ann")
        bobs = await said(bus, NotePosted, 2, "bob")
    trouble = NotePosted(channel="ops", text="ann failed on note.posted: RuntimeError: out of ideas")
    assert [(post.cause, post.event) for post in anns] == [(one, trouble), (two, say("heard two"))]
    assert [post.event for post in bobs] == [say("heard one"), say("heard two")]


UNKNOWN = ProposalPosted(tree="1" * 40, commit="2" * 40, title="t", origin=Origin(how="human"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ([say("x" * 1_000_000)], f"note.posted.text is '{'x' * 59}… (str): expected `str` of length <= 262144; docs/"),
        ([say("fine"), "not an event"], "handle returned a list that contains 'not an event' (str); each item must be"),
        (say("alone"), "handle returned one NotePosted; return a list of facts and drafts, such as [NotePosted(...)]"),
        ("words", "handle returned 'words' (str); return a list of facts and drafts"),
        ([AgentLeft(boot="b")], "a role may not post agent.left: the runtime posts it; raise Leaving(reason) to leave"),
        ([NotePosted(channel="ops", text=5)], "note.posted.text is 5 (int): expected `str`, got `int`; docs/events.md"),  # type: ignore[arg-type]
        ([CritiquePosted(target="t", verdict="no")], "critique.posted.verdict is 'no' (str): invalid enum value 'no'"),  # type: ignore[arg-type]
        (
            [CritiquePosted(target="t", verdict="warn", predicted=math.nan)],
            "critique.posted.predicted is nan; use a finite number",
        ),
        (
            [CritiquePosted(target="a b", verdict="warn")],
            "key of critique.posted is 'a b'; use 1 to 128 letters, digits",
        ),
        ([UNKNOWN], f"there is no commit {'2' * 40}"),
        ([Draft({}, "idea")], "arena a was never opened; open it with `mesh open FOLDER`"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
async def test_an_answer_that_cannot_be_posted_is_the_failure_of_its_author_alone(
    bus: MemoryBus, code: CodeStore, answer: Any, error: str
) -> None:
    async def unpostable(post: Post, board: Board) -> Any:
        return answer if words(post) == "one" else await echo(post, board)

    async with running(bus, code, {"ann": Listener(unpostable), "bob": Listener(echo)}):
        await people_say(bus, "one", "two")
        anns = await said(bus, NotePosted, 2, "ann")
        await said(bus, NotePosted, 2, "bob")
    assert words(anns[0]).startswith(f"ann failed on note.posted: {error}")
    assert "\n" not in words(anns[0])
    assert words(anns[1]) == "heard two"


async def test_an_agent_that_keeps_failing_leaves_and_the_others_stay(bus: MemoryBus, code: CodeStore) -> None:
    async with running(bus, code, {"ann": Listener(fail), "bob": Listener(echo)}):
        await people_say(bus, *map(str, range(MAX_FAILURES)))
        [left] = await said(bus, AgentLeft, 1)
        await people_say(bus, "still there?")
        assert words((await said(bus, NotePosted, MAX_FAILURES + 1, "bob"))[-1]) == "heard still there?"
    [joined] = await said(bus, AgentJoined, 1, "ann")
    assert isinstance(joined.event, AgentJoined)
    assert (left.author, left.event) == ("ann", AgentLeft(boot=joined.event.boot, reason="failed 5 times in a row"))
    async with aclosing(bus.read()) as batches:
        authors = [
            e.post.author async for batch in batches for e in batch if e.post and isinstance(e.post.event, NotePosted)
        ]
    assert authors.count("ann") == MAX_FAILURES


async def test_an_agent_that_leaves_says_why_once_and_the_others_stay(bus: MemoryBus, code: CodeStore) -> None:
    async def leave(post: Post, board: Board) -> Sequence[AnyEvent]:
        raise Leaving("the key is refused")

    async with running(bus, code, {"ann": Listener(leave), "bob": Listener(echo)}):
        await people_say(bus, "one", "two", "three")
        [left] = await said(bus, AgentLeft, 1)
        await said(bus, NotePosted, 3, "bob")
    [joined] = await said(bus, AgentJoined, 1, "ann")
    assert isinstance(joined.event, AgentJoined)
    assert (left.author, left.event) == ("ann", AgentLeft(boot=joined.event.boot, reason="the key is refused"))
    async with aclosing(bus.read()) as batches:
        notes = [e.post async for batch in batches for e in batch if e.post and e.post.author == "ann"]
    assert [words(note) for note in notes if isinstance(note.event, NotePosted)] == ["ann leaves: the key is refused"]


async def test_one_good_answer_forgives_earlier_failures(bus: MemoryBus, code: CodeStore) -> None:
    async def fail_on_bad(post: Post, board: Board) -> Sequence[AnyEvent]:
        return await (fail if words(post) == "bad" else echo)(post, board)

    almost = ["bad"] * (MAX_FAILURES - 1)
    async with running(bus, code, {"ann": Listener(fail_on_bad)}):
        await people_say(bus, *almost, "one", *almost, "two")
        answers = await said(bus, NotePosted, 2 * MAX_FAILURES, "ann")
    assert words(answers[-1]) == "heard two"


async def test_the_loop_ends_when_every_agent_has_left(bus: MemoryBus, code: CodeStore) -> None:
    await people_say(bus, "before")
    with anyio.fail_after(60):
        why = [""]
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                why[0] = await run_agents(bus, [Seat("ann", Listener(fail))], code, pause_s=0.001)

            tasks.start_soon(run)
            await said(bus, AgentJoined, 1)
            await people_say(bus, *map(str, range(MAX_FAILURES)))
    assert why == ["every agent has left"]


async def test_a_fact_that_stands_already_is_done(bus: MemoryBus, code: CodeStore) -> None:
    async def retire_again(post: Post, board: Board) -> Sequence[AnyEvent]:
        if post.author != "people":
            return []
        return [ProposalRetired(proposal="1" * 40, round=1, why="failed"), say("it is retired")]

    await bus.post(Post.new("eve", ProposalRetired(proposal="1" * 40, round=1, why="blocked")))
    async with running(bus, code, {"ann": Listener(retire_again)}):
        await people_say(bus, "one", "two")
        answers = await said(bus, NotePosted, 2, "ann")
    assert [words(post) for post in answers] == ["it is retired"] * 2
    assert [post.author for post in await said(bus, ProposalRetired, 1)] == ["eve"]


async def test_time_passes_for_an_agent_that_ticks(bus: MemoryBus, code: CodeStore) -> None:
    async with running(bus, code, {"ann": Clock()}):
        [post] = await said(bus, NotePosted, 1)
    assert (post.author, post.cause, post.event) == ("ann", "", say("time has passed"))
