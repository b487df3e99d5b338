"""The loop that runs agents: all agents of a process share a connection and a board.

The loop skips a fact if the board has the agent's answer to it. Otherwise it calls the agent, turns drafts into commits
and shares them, posts the facts, and waits until the board has folded them.

If an agent raises, or its answer cannot be posted, the loop posts a note and goes on. An agent that fails too often in
a row leaves; one that raises `Leaving` leaves at once. The other agents continue: only a log that cannot be reached
ends them all.
"""

import sys
import traceback
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio

import mesh
from mesh.agent.answers import checked
from mesh.agent.draft import Author, to_facts
from mesh.agent.protocol import Agent, Answers, Hearing, Joining, Resting, Ticking, Wakes, role_of
from mesh.board import Board
from mesh.bus import ArenaBus
from mesh.code import CodeStore
from mesh.errors import AlreadyPosted, BusError, Leaving, MeshError
from mesh.events import AgentJoined, AgentLeft, NotePosted, ProposalPosted
from mesh.follow import Follower, post_once
from mesh.log_clock import LogClock
from mesh.roll_call import answer_roll_call
from mesh.settings import host, owner
from mesh.swarm_boards import hand_on
from mesh.wire import Entry, Post

MAX_FAILURES = 5
"""Failures in a row after which an agent leaves."""

_MAX_PAUSE_S = 30.0
"""Longest pause of an agent after a failure, in seconds."""

MAX_NOTE = 2000
"""Most characters of a note about a failure."""


class Seat:
    """An agent with its name, and the posts that wait for it.

    `boot` is the id of this life of the agent. `leaving` is the reason if it raised `Leaving`. `failures` counts its
    failures in a row, and `last_failure` is the sentence of the last one. `reserves_usd` is the most that its model
    calls of one moment may cost. While it `is_deciding`, such calls may be under way, or their cost not posted. It
    `is_settled` once the log says that it left and owes nothing.
    """

    def __init__(self, name: str, agent: Agent, model: str = "") -> None:
        self.name, self.agent, self.author = name, agent, Author(name, role_of(agent), model)
        self.boot = uuid.uuid4().hex
        role = self.author.role
        where = {"host": host(), "version": mesh.__version__, "owner": owner()}
        self.reserves_usd: float | None = getattr(agent, "reserves_usd", None)
        self.is_deciding = self.is_settled = False
        event = AgentJoined(
            boot=self.boot, role=role, model=model, reserves_usd=self.reserves_usd, answers_by_name=True, **where
        )
        self.joined = Post.new(name, event)
        self.failures, self.last_failure = 0, ""
        self.leaving: Leaving | None = None
        self.waiting: deque[Post] = deque(maxlen=1 if getattr(agent, "only_latest", False) else None)
        self.arrived = anyio.Event()
        self._resting = agent if isinstance(agent, Resting) else None

    def left(self, reason: str) -> AgentLeft:
        """Return the fact that the agent ends; what it was asked last may have cost something that no fact has."""
        owes_usd = (self.reserves_usd or 0.0) if self.is_deciding else 0.0
        return AgentLeft(boot=self.boot, reason=reason, owes_usd=owes_usd)

    def hear(self, post: Post, board: Board) -> Wakes:
        """Queue a post for the agent, unless it says that it has no answer now; return what it says."""
        if self.leaving or self.failures >= MAX_FAILURES:
            return "no"
        said: Wakes = self._resting.wakes(board) if self._resting else "yes"
        if said == "yes":
            self.waiting.append(post)
            self.arrived.set()
        return said


class Listeners:
    """Wakes the agents that listen to a fact: the first one, and the others in turns, after those that were woken last.

    So a free place among a thousand agents goes to one after the other, and finding who takes it costs little.
    """

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._first, self._others = seats[:1], defaultdict[str, deque[Seat]](deque)
        for seat in seats[1:]:
            for kind in dict.fromkeys(seat.agent.listens):
                self._others[kind].append(seat)

    def hear(self, post: Post, board: Board) -> None:
        """Queue a post for all that listen to it and may have an answer."""
        for seat in self._first:
            if post.kind in seat.agent.listens:
                seat.hear(post, board)
        others = self._others.get(post.kind, deque())
        last = 0
        for number, seat in enumerate(others, 1):
            said = seat.hear(post, board)
            if said == "nobody":
                break
            last = number if said == "yes" else last
        others.rotate(-last)


async def run_agents(
    bus: ArenaBus,
    seats: Sequence[Seat],
    code: CodeStore,
    *,
    snapshot: Path | None = None,
    shares: bool = False,
    beside: Callable[[Follower], Coroutine[Any, Any, None]] | None = None,
    on_ready: Callable[[], None] | None = None,
    pause_s: float = 2.0,
) -> str:
    """Run agents until the arena is closed or all have left; return the reason in a few words.

    Args:
        bus: the arena.
        seats: the agents.
        code: the arena's code store.
        snapshot: file of the board's snapshot; None keeps none.
        shares: start from a board that the swarm hands on, and hand on the snapshots.
        beside: runs beside the agents until they end, with what keeps their board current.
        on_ready: called once, when all agents run.
        pause_s: seconds that an agent pauses after a failure; the pause doubles with each failure in a row.

    Raises:
        BusError: the log cannot be reached, or the server refuses this user.
    """
    follower = Follower(bus, snapshot=snapshot, swarm=bus if shares else None)
    await follower.catch_up()
    if follower.board.closed:
        return f"arena {bus.arena} is closed ({follower.board.closed.reason})"

    listeners = Listeners(seats)

    def on_entry(entry: Entry, counts: bool) -> None:
        if counts and entry.post is not None:
            listeners.hear(entry.post, follower.board)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.follow, on_entry)
        if shares and snapshot:
            tasks.start_soon(hand_on, bus, follower, snapshot)
        if beside:
            tasks.start_soon(beside, follower)
        try:
            async with anyio.create_task_group() as watched:
                watched.start_soon(_cancel_at_end, follower, watched.cancel_scope)
                for seat in seats:
                    watched.start_soon(answer_roll_call, bus, seat.boot, seat.name)
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
                reason = "arena closed" if follower.board.closed else "stopped"
                await _leave(bus, follower.board, seats, reason)
        tasks.cancel_scope.cancel()
    return f"arena {bus.arena} is closed" if follower.board.closed else "every agent has left"


async def _cancel_at_end(follower: Follower, scope: anyio.CancelScope) -> None:
    await follower.until(lambda board: board.closed is not None)
    scope.cancel()


async def _leave(bus: ArenaBus, board: Board, seats: Sequence[Seat], reason: str) -> None:
    posts = [Post.new(s.name, s.left(reason)) for s in seats]
    with suppress(BusError):
        for seat, post, result in zip(seats, posts, await bus.post_all(posts), strict=True):
            if isinstance(result, AlreadyPosted):
                if result.seq not in board.void:
                    continue
                await post_once(bus, board, post)
            seat.is_settled = not (isinstance(post.event, AgentLeft) and post.event.owes_usd)


async def _live(bus: ArenaBus, seat: Seat, follower: Follower, code: CodeStore, pause_s: float) -> None:
    """Join, then answer facts until cancelled, or until the agent leaves or has failed too often."""
    await follower.reached(await bus.post(seat.joined))
    agent = seat.agent
    if isinstance(agent, Joining):
        await _answer(bus, seat, follower, code, seat.joined, "joined", agent.joined, pause_s)
    next_tick, clock = anyio.current_time(), LogClock()
    while seat.failures < MAX_FAILURES and not seat.leaving:
        wait_s = max(0.0, next_tick - anyio.current_time()) if isinstance(agent, Ticking) else None
        with anyio.move_on_after(wait_s):
            await seat.arrived.wait()
        if seat.waiting:
            post = seat.waiting.popleft()
            if not seat.waiting:
                seat.arrived = anyio.Event()
            if not follower.board.has_answered(seat.name, post.id):
                await _answer(bus, seat, follower, code, post, "handle", partial(agent.handle, post), pause_s)
        elif isinstance(agent, Ticking):
            next_tick = anyio.current_time() + agent.every_s
            tick = partial(agent.tick, clock.now(follower.board))
            await _answer(bus, seat, follower, code, None, "tick", tick, pause_s)
    await _leave(bus, follower.board, [seat], str(seat.leaving or f"failed {MAX_FAILURES} times in a row")[:MAX_NOTE])


async def _hear(bus: ArenaBus, seat: Seat, agent: Hearing, follower: Follower, code: CodeStore) -> None:
    """Pass live messages to an agent until cancelled; a message on which it fails is dropped."""
    async with aclosing(bus.hear(agent.hears)) as messages:
        async for topic, data in messages:
            try:
                answers = checked(agent.heard(topic, data, follower.board), "heard")
                await _say(bus, seat, follower, code, answers, None, follower.board.seq)
            except (BusError, MemoryError):
                raise
            except Exception as error:
                _tell_failure(seat, topic, error)


async def _answer(
    bus: ArenaBus,
    seat: Seat,
    follower: Follower,
    code: CodeStore,
    post: Post | None,
    method: str,
    ask: Callable[[Board], Awaitable[Answers | None]],
    pause_s: float,
) -> None:
    """Call the agent and post its answers; post a note if it fails, and pause, or if it leaves."""
    as_of = follower.board.seq  # the board moves on while the agent works
    seat.is_deciding = True
    try:
        answers = checked(await ask(follower.board), method)
        await _say(bus, seat, follower, code, answers, post, as_of)
        seat.failures, seat.is_deciding = 0, False
    except (BusError, MemoryError):
        raise
    except Leaving as reason:
        seat.leaving = reason
        note = NotePosted(channel="ops", text=f"{seat.name} leaves: {reason}"[:MAX_NOTE])
        await _say(bus, seat, follower, code, [note], post, as_of)
    except Exception as error:
        seat.failures += 1
        seat.last_failure = text = _tell_failure(seat, post.kind if post else "the passing of time", error)
        await _say(bus, seat, follower, code, [NotePosted(channel="ops", text=text[:MAX_NOTE])], post, as_of)
        if seat.failures < MAX_FAILURES:
            await anyio.sleep(min(_MAX_PAUSE_S, pause_s * 2 ** (seat.failures - 1)))


def _tell_failure(seat: Seat, what: str, error: Exception) -> str:
    """Write the failure of an agent to stderr, with a traceback if it was unexpected; return the sentence."""
    is_expected = isinstance(error, MeshError)
    text = f"{seat.name} failed on {what}: {error if is_expected else f'{type(error).__name__}: {error}'}"
    if not is_expected:
        traceback.print_exc(file=sys.stderr)
    print(text, file=sys.stderr)
    return text


async def _say(
    bus: ArenaBus,
    seat: Seat,
    follower: Follower,
    code: CodeStore,
    answers: Answers,
    post: Post | None,
    as_of: int,
) -> None:
    """Share the code of proposals, post the facts, and wait for the board; a fact that is posted already is fine."""
    if not answers:
        return
    board = follower.board
    at = post.at if post else board.time
    facts = await to_facts(answers, seat.author, board, code, at, as_of)
    base = board.opened.base_commit if board.opened else ""
    for fact in facts:
        if isinstance(fact, ProposalPosted) and fact.commit != base:  # the base was shared when the arena was opened
            await code.push(fact.commit, base=base)
    if facts:
        cause = post.id if post else ""
        posts = [Post.new(seat.name, fact, cause=cause) for fact in facts]
        for post, result in zip(posts, await bus.post_all(posts), strict=True):
            await follower.reached(await follower.post_once(post) if isinstance(result, AlreadyPosted) else result)
