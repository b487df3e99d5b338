"""What the projector keeps of scores: the same numbers however a log is cut into batches, and those of the facts."""

import datetime as dt
import itertools
import random
import statistics
from collections import defaultdict
from pathlib import Path

import msgspec
import pytest

from analytics.projection import Projection, view_sources
from analytics.seen import Seen
from mesh import events as e
from mesh import wire
from mesh.wire import Entry, Post
from tests.history import opened, promote, proposal, request

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def finish(run: str, tree: str, value: float, evaluator: str = "") -> e.RunFinished:
    return e.RunFinished(
        run=run, proposal=tree, outcome=e.Scored(value=value), worker="w", worker_class="cpu", trial_s=value / 7,
        evaluator=evaluator,
    )  # fmt: skip


def a_log(seed: int, versions: int = 1) -> list[Entry]:
    """Return a random log: lanes, repeated keys, finishes without a request, and new versions of the arena between."""
    rng = random.Random(seed)
    told: list[tuple[str, e.AnyEvent]] = [("ann", opened())]
    trees = [f"t{n}" for n in range(8)]
    told += [("ann", proposal(tree)) for tree in trees]
    for number in range(200):
        tree, run = rng.choice(trees), f"r{rng.randrange(150)}"
        lane = rng.choice(("explore", "confirm", "control"))
        choices: tuple[e.AnyEvent, ...] = (
            msgspec.structs.replace(request(run, tree), lane=lane, seed=number),
            finish(run, tree, rng.gauss(2, 0.3)),
            e.RunStarted(run=run, attempt=rng.randrange(3), worker="w"),
            e.CritiquePosted(target=tree, verdict="endorse"),
            promote(tree, rng.choice(["", *trees]), number),
        )
        event = rng.choice(choices)
        told.append((rng.choice(("ann", "bob")), event))
        if number % 70 == 69 and versions > 1:
            told.append(("ann", msgspec.structs.replace(opened(2 + number // 70), base_tree="t1")))
    entries = []
    for seq, (author, event) in enumerate(told, 1):
        post = Post(id=f"p{seq}", at=START, author=author, event=event)
        entries.append(
            wire.entry(seq, START + dt.timedelta(seconds=seq), wire.subject_of("a", post), wire.encode(post))
        )
    return entries


def folded(path: Path, entries: list[Entry], sizes: list[int]) -> dict[str, list[str]]:
    projection = Projection.open(path)
    try:
        projection.checkpoint("a", "log", 0)
        size, left = itertools.cycle(sizes), entries
        while left:
            count = next(size)
            projection.append("a", "log", left[:count])
            left = left[count:]
        with projection.cursor() as db:
            names = ("scored", *(name for name, _ in view_sources()))
            return {name: sorted(map(repr, db.execute(f"FROM {name}").fetchall())) for name in names}
    finally:
        projection.close()


@pytest.mark.parametrize("versions", [1, 3])
def test_every_number_is_the_same_however_a_log_is_cut_into_batches(tmp_path: Path, versions: int) -> None:
    log = a_log(7, versions)
    whole = folded(tmp_path / "whole.duckdb", log, [len(log)])
    assert whole["scored"]
    for number, sizes in enumerate(([1], [3, 11], [64])):
        assert folded(tmp_path / f"{number}.duckdb", log, sizes) == whole


def test_a_standing_is_what_its_scores_say(tmp_path: Path) -> None:
    log = a_log(11)
    projection = Projection.open(tmp_path / "a.duckdb")
    projection.checkpoint("a", "log", 0)
    projection.append("a", "log", log)
    requests: dict[str, e.RunRequested] = {}
    finishes: dict[str, float] = {}
    proven, claimed = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for entry in log:
        match entry.post.event if entry.post else None:
            case e.RunRequested(run=run) as asked:
                requests.setdefault(run, asked)
            case e.RunFinished(run=run, outcome=e.Scored(value=value)) if run not in finishes:
                finishes[run] = value
                if of := requests.get(run):
                    is_claim = of.lane == "explore" and of.proposal != "t0"  # t0 is the artifact as it was
                    (claimed if is_claim else proven)[of.proposal].append(value)
    with projection.cursor() as db:
        found = db.execute("SELECT proposal, mean, fresh, claimed, low, high FROM standings").fetchall()
    projection.close()
    spreads = [(len(values) - 1, statistics.variance(values)) for values in proven.values() if len(values) > 1]
    sd = (sum(n * variance for n, variance in spreads) / sum(n for n, _ in spreads)) ** 0.5
    assert {row[0] for row in found} == proven.keys() | claimed.keys()
    for tree, mean, fresh, of_claims, low, high in found:
        assert mean == pytest.approx(statistics.fmean(proven[tree] or claimed[tree]))
        assert fresh == len(proven[tree])
        assert of_claims == (pytest.approx(statistics.fmean(claimed[tree])) if claimed[tree] else None)
        if fresh:
            assert high - low == pytest.approx(2 * 1.96 * sd / fresh**0.5)
        else:
            assert (low, high) == (None, None)


def test_a_key_that_was_added_is_never_called_new() -> None:
    seen = Seen()
    keys = [("arena", "note.posted", str(n), "") for n in range(5000)]
    assert not any(seen.add(*key) for key in keys)
    assert all(seen.add(*key) for key in keys)
