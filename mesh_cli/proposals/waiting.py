"""What `mesh wait` does and prints; a server that is away is waited for."""

import math
import sys
from collections.abc import Iterator

import anyio

from gateway.answers import Outcome, OutcomeWord
from gateway.resolve import NO_BASELINE
from gateway.wait import LONGEST_S, Awaited, await_outcome
from mesh.admission_order import QueuePlace, place_words
from mesh.errors import BusUnavailable, UnknownName, leaf
from mesh.text import needed_places, plain_number, short, signed_gain
from mesh_cli.connect import reach_door
from mesh_cli.exit import ExitCode

EXIT_CODES: dict[OutcomeWord, ExitCode] = {
    "": ExitCode.TIMED_OUT,
    "better": ExitCode.OK,
    "promoted": ExitCode.OK,
    "not_better": ExitCode.NOT_BETTER,
    "retired": ExitCode.NOT_BETTER,
    "no_score": ExitCode.NO_SCORE,
    "refused": ExitCode.REFUSED,
    "closed": ExitCode.CLOSED,
}
_AGAIN_S = 1.0


async def waited(arena: str | None, nats: str | None, word: str, until: Awaited, timeout_s: float | None) -> Outcome:
    """Wait for a proposal and return how it fares; its place in the queue goes to stderr as it changes.

    Args:
        arena: Name of the arena, as of `reach`.
        nats: Address of the server, as of `reach`.
        word: The proposal.
        until: What is awaited.
        timeout_s: Seconds to wait; None is any time.

    Raises:
        BusUnavailable: No server answered within the time.
        UnknownName: There is no such proposal.
    """
    end = math.inf if timeout_s is None else anyio.current_time() + timeout_s
    told = ""
    while True:
        try:
            return await _connected(arena, nats, word, until, end)
        except (BusUnavailable, BaseExceptionGroup) as error:
            cause = leaf(error)
            if not isinstance(cause, BusUnavailable) or anyio.current_time() + _AGAIN_S > end:
                raise cause from None
            if str(cause) != told:
                told = str(cause)
                print(f"mesh: {cause}; waiting for it", file=sys.stderr)
        await anyio.sleep(_AGAIN_S)


async def _connected(arena: str | None, nats: str | None, word: str, until: Awaited, end: float) -> Outcome:
    async with reach_door(arena, nats, endless=True) as door:
        if not (tree := await door.proposal(word)):
            raise UnknownName(NO_BASELINE.format(door.board.arena))
        seen, told = QueuePlace("decided"), ""
        while True:
            left = max(0.0, end - anyio.current_time())
            done = await await_outcome(door, tree, until=until, seconds=min(left, LONGEST_S), seen=seen)
            if done.ending or anyio.current_time() >= end:
                return done
            seen = done.queue
            if (words := place_words(seen)) != told:
                told = words
                print(f"mesh: {short(tree)}: {words}", file=sys.stderr)


def outcome_lines(done: Outcome) -> Iterator[str]:
    """Return the lines that show how a proposal fares."""
    ending = done.ending.replace("_", " ") or f"not decided yet ({place_words(done.queue) or done.state})"
    yield f"{short(done.proposal)} {ending}"
    if done.mean is not None:
        places = needed_places([done.mean, *([done.parent_mean] if done.parent_mean is not None else [])])
        gain = (
            "" if done.gain is None else f", gain {signed_gain(done.gain, places)} over its parent {short(done.parent)}"
        )
        rests = f"{done.fresh} fresh seed{'s' if done.fresh > 1 else ''}" if done.fresh else "a candidate score"
        yield f"  {done.metric} {plain_number(done.mean, places)} ({rests}){gain}"
    if done.why:
        yield from (f"  {line}" for line in done.why.splitlines())
