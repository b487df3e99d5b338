"""The one loop that runs agents: many in a process share a connection and a board.

For each fact that an agent hears: skip it if the board shows an answer already, ask the agent, share the code of what
it proposes, post, and wait until the board has folded the agent's own words before it is asked again. An agent that
raises, or says what cannot be posted, is told on the board and goes on; one that keeps failing leaves, one that raises
`Leaving` at once. None of that touches the agents beside it; only a log that is out of reach ends them all.
"""

import datetime as dt
import sys
import traceback
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from pathlib import Path

import anyio

import mesh
from mesh.agent.protocol import Agent, Hearing, Ticking
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import AlreadyPosted, BusError, Leaving, MeshError
from mesh.events import AgentJoined, AgentLeft, AnyEvent, NotePosted, ProposalPosted
from mesh.follow import Follower
from mesh.settings import host
from mesh.wire import Entry, Post

MAX_FAILURES = 5
"""Failures in a row after which an agent leaves."""

MAX_PAUSE_S = 30.0
"""Longest pause of an agent after a failure."""

MAX_NOTE = 2000
"""Characters of a note about a failure."""


class Seat:
    """An agent with its name and role, and the posts that wait for it.

    `boot` is this life of it, `leaving` why it has ended it of its own accord.
    """

    def __init__(self, name: str, role: str, agent: Agent, model: str = "") -> None:
        self.name, self.agent = name, agent
        self.boot = uuid.uuid4().hex
        event = AgentJoined(boot=self.boot, role=role, model=model, host=host(), version=mesh.__version__)
        self.joined = Post.new(name, event)
        self.failures = 0
        self.leaving: Leaving | None = None
        self.waiting: deque[Post] = deque(maxlen=1 if agent.only_latest else None)
        self.arrived = anyio.Event()

    def hear(self, post: Post) -> None:
        """Put a post into the mailbox if the agent listens to its kind, or it is the word that it has joined."""
        if post.kind in self.agent.listens or post.id == self.joined.id:
            self.waiting.append(post)
            self.arrived.set()


async def run_agents(
    bus: ArenaBus,
    seats: Sequence[Seat],
    code: CodeStore,
    *,
    snapshot: Path | None = None,
    on_ready: Callable[[], None] | None = None,
    pause_s: float = 2.0,
) -> str:
    """Run agents until the arena is closed or all have left; return why in a few words.

    An agent that fails pauses for `pause_s` seconds, twice as long each time in a row.

    Raises:
        BusError: the log is out of reach or refuses us.
    """
    follower = Follower(bus, snapshot=snapshot)
    await follower.catch_up()
    if follower.board.closed:
        return f"arena {bus.arena} is closed ({follower.board.closed.reason})"

    def on_entry(entry: Entry, counts: bool) -> None:
        if counts and entry.post is not None:
            for seat in seats:
                seat.hear(entry.post)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow, on_entry)
        try:
            async with anyio.create_task_group() as watched:
                watched.start_soon(_cancel_at_end, follower, watched.cancel_scope)
                for seat in seats:
                    if isinstance(seat.agent, Hearing):
                        watched.start_soon(_hear, bus, seat, seat.agent, follower, code)
                async with anyio.create_task_group() as living:
                    for seat in seats:
                        living.start_soon(_live, bus, seat, follower, code, pause_s)
                    if on_ready:
                        on_ready()
                watched.cancel_scope.cancel()
        finally:
            follower.save()
            with anyio.move_on_after(3, shield=True):
                await _leave(bus, seats, "arena closed" if follower.board.closed else "stopped")
        tasks.cancel_scope.cancel()
    return f"arena {bus.arena} is closed" if follower.board.closed else "every agent has left"


async def _cancel_at_end(follower: Follower, scope: anyio.CancelScope) -> None:
    await follower.until(lambda board: board.closed is not None)
    scope.cancel()


async def _leave(bus: ArenaBus, seats: Sequence[Seat], reason: str) -> None:
    with suppress(BusError):
        await bus.post_all([Post.new(s.name, AgentLeft(boot=s.boot, reason=reason)) for s in seats])


async def _live(bus: ArenaBus, seat: Seat, follower: Follower, code: CodeStore, pause_s: float) -> None:
    """Join, and answer what is heard until told to stop, or until the agent has failed too often."""
    await follower.reached(await bus.post(seat.joined))
    next_tick = anyio.current_time()
    while seat.failures < MAX_FAILURES and not seat.leaving:
        agent = seat.agent
        wait_s = max(0.0, next_tick - anyio.current_time()) if isinstance(agent, Ticking) else None
        with anyio.move_on_after(wait_s):
            await seat.arrived.wait()
        if seat.waiting:
            post = seat.waiting.popleft()
            if not seat.waiting:
                seat.arrived = anyio.Event()
            if not follower.board.has_answered(seat.name, post.id):
                await _answer(bus, seat, follower, code, post, pause_s)
        elif isinstance(agent, Ticking):
            next_tick = anyio.current_time() + agent.every_s
            await _answer(bus, seat, follower, code, None, pause_s)
    await _leave(bus, [seat], str(seat.leaving or f"failed {MAX_FAILURES} times in a row")[:MAX_NOTE])


async def _hear(bus: ArenaBus, seat: Seat, agent: Hearing, follower: Follower, code: CodeStore) -> None:
    """Let an agent hear what is live until cancelled; what it fails on is dropped, as all that is live may be."""
    async with aclosing(bus.hear(agent.hears)) as told:
        async for topic, data in told:
            try:
                events = agent.heard(topic, data, follower.board)
            except Exception:
                traceback.print_exc(file=sys.stderr)
            else:
                await _say(bus, seat.name, follower, code, events, "")


async def _answer(
    bus: ArenaBus, seat: Seat, follower: Follower, code: CodeStore, post: Post | None, pause_s: float
) -> None:
    """Ask the agent and post what it says; a failure of its own is noted and followed by a pause, its leaving noted."""
    try:
        events: Sequence[AnyEvent]
        if post is not None:
            events = await seat.agent.handle(post, follower.board)
        else:
            assert isinstance(seat.agent, Ticking)
            events = await seat.agent.tick(dt.datetime.now(dt.UTC), follower.board)
        await _say(bus, seat.name, follower, code, events, post.id if post else "")
        seat.failures = 0
    except (BusError, MemoryError):
        raise
    except Leaving as reason:
        seat.leaving = reason
        note = NotePosted(channel="ops", text=f"{seat.name} leaves: {reason}"[:MAX_NOTE])
        await _say(bus, seat.name, follower, code, [note], post.id if post else "")
    except Exception as error:
        seat.failures += 1
        what = post.kind if post else "the passing of time"
        text = f"{seat.name} failed on {what}: {type(error).__name__}: {error}"
        if not isinstance(error, MeshError):
            traceback.print_exc(file=sys.stderr)
        print(text, file=sys.stderr)
        note = NotePosted(channel="ops", text=text[:MAX_NOTE])
        await _say(bus, seat.name, follower, code, [note], post.id if post else "")
        if seat.failures < MAX_FAILURES:
            await anyio.sleep(min(MAX_PAUSE_S, pause_s * 2 ** (seat.failures - 1)))


async def _say(
    bus: ArenaBus, author: str, follower: Follower, code: CodeStore, events: Sequence[AnyEvent], cause: str
) -> None:
    """Share the code of proposals, post the facts, and wait until the board has them; what stands already is done."""
    if not events:
        return
    base = follower.board.opened.base_commit if follower.board.opened else ""
    for event in events:
        if isinstance(event, ProposalPosted) and event.commit != base:  # the base was shared when the arena was opened
            await code.push(event.commit, base=base)
    results = await bus.post_all([Post.new(author, event, cause=cause) for event in events])
    await follower.reached(max(r.seq if isinstance(r, AlreadyPosted) else r for r in results))
