"""Workers and authors without trials: they answer requested runs after a made-up time, die, and lose their machines.

All of them live in one process and share a few connections, as slots of machines do. What they post is what real ones
post. Trial times are log-normal. A worker that dies says nothing: its lease ends, another one gets its run, and it
comes back in a new life. One whose machine is taken away gives its run back. The clocks of some are wrong.
"""

import datetime as dt
import math
import random
import uuid
from collections.abc import Sequence
from contextlib import aclosing, suppress

import anyio
import nats
from anyio.abc import TaskGroup
from msgspec.structs import replace

from mesh import events as e
from mesh.bus import ArenaBus, Delivery
from mesh.errors import AlreadyPosted
from mesh.jetstream.streams import stream_of
from mesh.testing import commit_hash, git_hash
from mesh.wire import Post

QUEUE, CLASS = "workers", "gpu-virtual"
NOISE = 0.02
"""Standard deviation of a score over seeds; the first champion has a mean of 1, and less is better."""
SPREAD = 1.0
"""Standard deviation of the logarithm of a trial's time."""
DIES, IS_TAKEN, CLOCK_IS_WRONG = 0.005, 0.01, 0.1
"""Chances: per run that its worker dies or is taken away, and per worker that its clock is wrong."""
AWAY, LEASE, EXTEND_EVERY = 2.0, 1.0, 0.4
"""In mean trial times: when a worker that died comes back, how long a lease is, and how often a worker extends it."""
LANES = tuple(f"run.requested.{lane}" for lane in e.LANES)


class VirtualFleet:
    """So many workers of one slot each, and authors that keep them busy with proposals.

    `proposed`, `begun`, `again` (more attempts), `finished`, `died`, `taken` and `refused` (a run that another worker
    had finished) count; `busy_s` is the time of all trials so far.

    Args:
        buses: one for each connection.
        workers: how many.
        authors: names of those that propose.
        mean_s: mean seconds of a trial.
    """

    def __init__(self, buses: Sequence[ArenaBus], workers: int, authors: Sequence[str], mean_s: float) -> None:
        self._buses, self._authors, self._rng = buses, authors, random.Random(1)
        self._mean_s, self._middle = mean_s, math.log(mean_s) - SPREAD**2 / 2
        self._idle = [f"worker-{number:05d}" for number in range(workers)]
        self._wrong_s = {
            name: self._rng.uniform(-600, 600) for name in self._idle if self._rng.random() < CLOCK_IS_WRONG
        }
        self.workers = workers
        self._is_ending = anyio.Event()
        self.proposed = self.begun = self.finished = self.died = self.taken = self.again = self.refused = 0
        self.busy_s = 0.0

    async def join(self) -> None:
        """Let all workers join."""
        await self._buses[0].post_all([self._post(name, _life()) for name in self._idle])

    async def work(self) -> None:
        """Propose and execute until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._propose)
            for bus in self._buses:
                room = anyio.Semaphore(max(1, len(self._idle) // len(self._buses)))
                tasks.start_soon(self._take, bus, room, tasks)

    def end(self) -> None:
        """Let the authors propose no more, and all trials end now."""
        self._is_ending.set()

    async def _propose(self) -> None:
        """Keep as many proposals ahead of the workers as there are workers."""
        number = 0
        while not self._is_ending.is_set():
            ahead = self.workers - (self.proposed - self.begun)
            posts = [self._proposal(number + more) for more in range(min(ahead, 200))]
            number += len(posts)
            await self._buses[0].post_all(posts)
            self.proposed += len(posts)
            await anyio.sleep(0.02)

    def _proposal(self, number: int) -> Post:
        tree = git_hash(f"live-{number}")
        event = e.ProposalPosted(
            tree=tree,
            commit=commit_hash(tree),
            parents=(git_hash("t"),),
            title=f"WIDTH 64 → {number}",
            origin=e.Origin(how="sampler", name="sobol"),
            knobs=(e.KnobChange(file="train.py", name="WIDTH", old=64, new=number),),
        )
        return Post.new(self._authors[number % len(self._authors)], event)

    async def _take(self, bus: ArenaBus, room: anyio.Semaphore, tasks: TaskGroup) -> None:
        deliveries = bus.work(QUEUE, LANES, lease_s=LEASE * self._mean_s)
        try:
            while True:
                await room.acquire()
                tasks.start_soon(self._run, bus, await anext(deliveries), room)
        finally:
            with anyio.CancelScope(shield=True):
                await deliveries.aclose()

    async def _run(self, bus: ArenaBus, delivery: Delivery, room: anyio.Semaphore) -> None:
        """Answer one request, in one of the ways in which it may end."""
        assert delivery.entry.post
        request = delivery.entry.post.event
        assert isinstance(request, e.RunRequested)
        name, fate = self._idle.pop(), self._rng.random()
        try:
            self.begun += delivery.attempt == 1
            self.again += delivery.attempt > 1
            started = e.RunStarted(run=request.run, attempt=delivery.attempt, worker=name, device="virtual")
            with suppress(AlreadyPosted):
                await bus.post(self._post(name, started, delivery.entry.post.id))
            takes_s = self._rng.lognormvariate(self._middle, SPREAD)
            if fate < DIES:
                self.died += 1
                await anyio.sleep(AWAY * self._mean_s)
                await bus.post(self._post(name, _life()))
            elif fate < DIES + IS_TAKEN:
                self.taken += 1
                await self._sleep(takes_s / 2, delivery)
                await delivery.hand_back()
            else:
                await self._sleep(takes_s, delivery)
                await bus.post(self._post(name, _end(request, name, takes_s), delivery.entry.post.id))
                self.finished += 1
                await delivery.done()
        except AlreadyPosted:
            self.refused += 1
            await delivery.done()
        finally:
            self._idle.append(name)
            room.release()

    async def _sleep(self, seconds: float, delivery: Delivery) -> None:
        """Hold the lease for so long."""
        self.busy_s += seconds
        every_s = EXTEND_EVERY * self._mean_s
        while seconds > 0 and not self._is_ending.is_set():
            with anyio.move_on_after(min(seconds, every_s)):
                await self._is_ending.wait()
            seconds -= every_s
            if seconds > 0:
                await delivery.extend()

    def _post(self, name: str, event: e.AnyEvent, cause: str = "") -> Post:
        post = Post.new(name, event, cause=cause)
        wrong_s = self._wrong_s.get(name, 0.0)
        return replace(post, at=post.at + dt.timedelta(seconds=wrong_s)) if wrong_s else post


async def take_off(url: str, bus: ArenaBus, mean_s: float) -> None:
    """Take all requests that are in the log off the queue, as workers do that have finished them."""
    async with aclosing(bus.work(QUEUE, LANES, lease_s=LEASE * mean_s)) as deliveries:
        async for delivery in deliveries:  # the queue exists now
            await delivery.done()
            break
    client = await nats.connect(url)
    js = client.jetstream()
    for lane in LANES:
        consumer = f"{QUEUE}_{lane.replace('.', '-')}"
        subscription = await js.pull_subscribe_bind(consumer, stream_of(bus.arena))
        while (await subscription.consumer_info()).num_pending:
            for msg in await subscription.fetch(1000, timeout=30):
                await msg.ack()
            await client.flush()
    await client.close()


def opening_runs(spec_of: Post, seeds: int = 8) -> list[Post]:
    """Return what makes the artifact of a newly opened arena its champion, with a score on every seed."""
    assert isinstance(spec_of.event, e.ArenaOpened)
    tree, commit = spec_of.event.base_tree, spec_of.event.base_commit
    baseline = e.ProposalPosted(tree=tree, commit=commit, title="baseline", origin=e.Origin(how="baseline"))
    posts = [Post.new("operator", baseline)]
    for seed in range(1, seeds + 1):
        run = f"{tree[:16]}-{'explore' if seed == 1 else 'control'}-{seed}"
        request = e.RunRequested(
            run=run,
            lane="explore" if seed == 1 else "control",
            proposal=tree,
            commit=commit,
            seed=seed,
            budget_s=60,
            deadline_s=90,
        )
        posts += [Post.new("curator", request), Post.new("worker-00000", _end(request, "worker-00000", 1.0))]
    promoted = e.ProposalPromoted(proposal=tree, round=1, mean=1.0, seeds=tuple(range(1, seeds + 1)))
    return [*posts, Post.new("curator", promoted)]


def _life() -> e.WorkerJoined:
    return e.WorkerJoined(boot=uuid.uuid4().hex, worker_class=CLASS, device="virtual", slots=1, tier="none")


def _end(request: e.RunRequested, name: str, took_s: float) -> e.RunFinished:
    """Return a made-up end: one in fifty fails; one proposal in forty is better than the first champion."""
    own, rng = random.Random(request.proposal), random.Random(request.run)
    mean = 1.0 if request.proposal == git_hash("t") else math.exp(0.2 + 0.1 * own.gauss(0, 1))
    outcome: e.Scored | e.Failed = e.Scored(value=mean + rng.gauss(0, NOISE))
    if own.random() < 0.02 and request.proposal != git_hash("t"):
        outcome = e.Failed(reason="crash", message="made up")
    return e.RunFinished(
        run=request.run,
        proposal=request.proposal,
        outcome=outcome,
        worker=name,
        worker_class=CLASS,
        evaluator=request.evaluator,
        trial_s=took_s,
    )
