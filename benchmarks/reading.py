"""How soon the answers to common questions are there: commands, the first line of the board, views.

Starts of commands are measured by `cold`, first lines by `first_line`, views by `views`, and commands that ask a
projector by `terminal` (all in `benchmarks.parts`); each says what its figures mean. The large log has a million events
of a realistic mix (50,000 with `--quick`), the small one a thousand.
"""

from itertools import chain

from benchmarks.parts import cold, first_line, terminal, views
from benchmarks.parts.harness import Figures, Goal, a_hub, say
from benchmarks.parts.mix import opening, posts
from mesh.jetstream import JetStreamHub

SMALL = 1000
STARTS = 20
GOALS: dict[str, Goal] = {**cold.GOALS, **first_line.GOALS, **views.GOALS, **terminal.GOALS}


async def measure(quick: bool) -> Figures:
    """Return ratios, milliseconds and MB."""
    large, rounds = (50_000, 5) if quick else (1_000_000, 15)
    async with a_hub("2m") as (hub, server, folder):
        await _write(hub, "empty", 1)
        figures = await cold.measure_starts(server.url, "empty", STARTS)  # before the machine has anything else to do
        await _write(hub, "small", SMALL)
        await _write(hub, "large", large)
        figures |= await first_line.measure_tail(hub, server.url, "small", "large", rounds)
        return figures | await views.measure_views(await hub.arena("large"), server.url, folder, 4 * rounds)


async def _write(hub: JetStreamHub, name: str, count: int) -> None:
    say(f"writing a log of {count:,} events")
    bus = await hub.arena(name, create=True)
    await bus.post_all(chain([opening(name)], posts(f"{name}-", count - 1)))
