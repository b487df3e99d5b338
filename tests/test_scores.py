"""What the projector keeps of scores: the same numbers however a log is cut into batches, and those of the facts."""

import datetime as dt
import itertools
import random
import statistics
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from analytics import scores
from analytics.bloom_filter import BloomFilter
from analytics.projection import Projection, view_sources
from analytics.projector import replay
from mesh import events as e
from mesh.errors import BusUnavailable, HostTrouble
from mesh.memory import MemoryBus
from mesh.wire import Entry, Pattern
from tests.support.folding import write
from tests.support.history import (
    SPEC,
    T0,
    T1,
    T2,
    T3,
    T4,
    T5,
    T6,
    T7,
    Fact,
    entries,
    opened,
    promote,
    proposal,
    request,
)

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


Place = tuple[str, str]
"""A proposal and a worker class."""


def finish(run: str, tree: str, value: float, where: str = "cpu") -> e.RunFinished:
    return e.RunFinished(
        run=run, proposal=tree, outcome=e.Scored(value=value), worker="w", worker_class=where, trial_s=value / 7
    )


def a_log(seed: int, versions: int = 1) -> list[Entry]:
    """Return a random log: lanes, repeated keys, finishes without a request, and new versions of the arena between."""
    rng = random.Random(seed)
    facts: list[Fact] = [("ann", opened())]
    trees = [T0, T1, T2, T3, T4, T5, T6, T7]
    facts += [("ann", proposal(tree)) for tree in trees]
    for number in range(200):
        tree, run = rng.choice(trees), f"r{rng.randrange(150)}"
        lane = rng.choice(("explore", "confirm", "control"))
        choices: tuple[e.AnyEvent, ...] = (
            msgspec.structs.replace(request(run, tree), lane=lane, seed=number),
            finish(run, tree, rng.gauss(2, 0.3), rng.choice(("cpu", "gpu"))),
            e.RunStarted(run=run, attempt=rng.randrange(3), worker="w"),
            e.CritiquePosted(target=tree, verdict="endorse"),
            promote(tree, rng.choice(["", *trees]), number),
        )
        event = rng.choice(choices)
        facts.append((rng.choice(("ann", "bob")), event))
        if number % 70 == 69 and versions > 1:
            facts.append(("ann", msgspec.structs.replace(opened(2 + number // 70), base_tree=T1)))
    return entries(facts)


def folded(path: Path, entries: list[Entry], sizes: list[int]) -> dict[str, list[str]]:
    projection = Projection.open(path)
    try:
        projection.checkpoint("a", "log", 10**6)
        size, left = itertools.cycle(sizes), entries
        while left:
            count = next(size)
            projection.append("a", "log", left[:count])
            left = left[count:]
        with projection.cursor() as db:
            names = ("internal.scored", *(name for name, _ in view_sources()))
            return {name: sorted(map(repr, db.execute(f"FROM {name}").fetchall())) for name in names}
    finally:
        projection.close()


@pytest.mark.parametrize(("versions", "kept"), [(1, 5000), (3, 5000), (3, 2)])
def test_every_number_is_the_same_however_a_log_is_cut_into_batches(
    tmp_path: Path, versions: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log(7, versions)
    whole = folded(tmp_path / "whole.duckdb", log, [len(log)])
    monkeypatch.setattr(scores, "_KEPT", kept)
    monkeypatch.setattr(scores, "_KEPT_POSTED", kept)
    assert whole["internal.scored"]
    for number, sizes in enumerate(([1], [3, 11], [64])):
        assert folded(tmp_path / f"{number}.duckdb", log, sizes) == whole


def test_every_number_is_the_same_when_the_file_is_opened_again_for_each_batch(tmp_path: Path) -> None:
    log, path = a_log(8, 3), tmp_path / "a.duckdb"
    for place in range(0, len(log), 40):
        found = folded(path, log[place : place + 40], [40])
    assert found == folded(tmp_path / "whole.duckdb", log, [len(log)])


def test_a_standing_is_what_its_scores_say(tmp_path: Path) -> None:
    log = a_log(11)
    projection = Projection.open(tmp_path / "a.duckdb")
    projection.checkpoint("a", "log", 0)
    projection.append("a", "log", log)
    requests: dict[str, e.RunRequested] = {}
    finishes: dict[str, float] = {}
    proven, claimed = defaultdict[Place, list[float]](list), defaultdict[Place, list[float]](list)
    for entry in log:
        match entry.post.event if entry.post else None:
            case e.RunRequested(run=run) as asked:
                requests.setdefault(run, asked)
            case e.RunFinished(run=run, outcome=e.Scored(value=value), worker_class=where) if run not in finishes:
                finishes[run] = value
                if of := requests.get(run):
                    is_claim = of.lane == "explore" and of.proposal != T0  # t0 is the artifact as it was
                    (claimed if is_claim else proven)[of.proposal, where].append(value)
    with projection.cursor() as db:
        found = db.execute(
            "SELECT proposal, worker_class, proven_mean, proven_count, claimed_sum, claimed_count "
            "FROM internal.class_standings"
        ).fetchall()
    projection.close()
    assert {row[:2] for row in found} == proven.keys() | claimed.keys()
    for tree, where, mean, fresh, of_claims, claims in found:
        assert mean == (pytest.approx(statistics.fmean(proven[tree, where])) if fresh else None)
        assert (fresh, claims) == (len(proven[tree, where]), len(claimed[tree, where]))
        assert of_claims == pytest.approx(sum(claimed[tree, where]))


def test_a_key_that_was_added_is_never_called_new() -> None:
    seen = BloomFilter()
    keys = [("arena", "note.posted", str(n), "") for n in range(5000)]
    assert seen.add(keys) == []
    assert seen.add(keys) == keys


def test_a_batch_that_could_not_be_written_counts_when_it_is_written_again(tmp_path: Path) -> None:
    log = a_log(5, 3)
    whole = folded(tmp_path / "whole.duckdb", log, [len(log)])
    projection = Projection.open(tmp_path / "a.duckdb")
    projection.checkpoint("a", "log", 0)
    projection.append("a", "log", log[:100])
    with projection.cursor() as other:
        other.begin()
        other.execute("UPDATE internal.checkpoints SET seq = 0")
        with pytest.raises(HostTrouble):
            projection.append("a", "log", log[100:])
        other.rollback()
    projection.append("a", "log", log[100:])
    projection.close()
    assert folded(tmp_path / "a.duckdb", [], [1]) == whole


def test_a_log_that_took_the_place_of_another_counts_like_the_first(tmp_path: Path) -> None:
    log = a_log(5, 3)
    projection = Projection.open(tmp_path / "a.duckdb")
    for identity in ("first", "log"):
        assert projection.checkpoint("a", identity, len(log)) == 0
        projection.append("a", identity, log)
    projection.close()
    assert folded(tmp_path / "a.duckdb", [], [1]) == folded(tmp_path / "whole.duckdb", log, [len(log)])


def test_the_version_of_the_arena_that_ranks_scores_is_the_one_that_is_shown(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, objective=msgspec.structs.replace(SPEC.objective, direction="maximize"))
    huge = msgspec.structs.replace(opened(2**53), spec=spec)  # more versions than entries
    log = entries(
        [("ann", event) for event in (opened(), huge, proposal(T1), request("r1", T1), finish("r1", T1, 2.0))]
    )
    projection = Projection.open(tmp_path / "a.duckdb")
    projection.checkpoint("a", "log", 0)
    projection.append("a", "log", log)
    with projection.cursor() as db:
        assert db.execute("SELECT version, sign FROM arenas").fetchall() == [(1, -1)]
        assert db.execute("SELECT sign, value FROM scores").fetchall() == [(-1, 2.0)]
    projection.close()


class BrokenOff(MemoryBus):
    """A log that can be read up to its first batch."""

    async def read(
        self, after: int = 0, *, follow: bool = False, until: int | None = None, only: Sequence[Pattern] = ()
    ) -> AsyncGenerator[list[Entry]]:
        async with aclosing(super().read(after, follow=follow, until=until, only=only)) as batches:
            async for batch in batches:
                yield batch
                raise BusUnavailable("the server is gone")


async def test_what_reading_meets_reaches_who_replays_as_it_was(tmp_path: Path) -> None:
    bus = BrokenOff("a")
    await write(bus)
    with pytest.raises(BusUnavailable, match="the server is gone"):
        await replay(bus, tmp_path / "a.duckdb")
