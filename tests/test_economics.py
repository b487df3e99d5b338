"""What workers cost, in SQL: of random histories the views say what a plain recomputation says."""

import datetime as dt
import math
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from analytics.projection import Projection
from analytics.report.queries import report_data
from analytics.report.sections.cost import gain_for
from analytics.sql_server import SqlServer
from mesh import events as e
from mesh import wire
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.money import spent_usd
from mesh.testing import BEGAN
from mesh.wire import Entry, Post
from tests.support.folding import rows
from tests.support.history import T0, T1, T2, finish, opened, promote, proposal, request

Timed = tuple[float, str, e.AnyEvent]
"""Seconds since the beginning, an author and what it posts."""


def log_of(facts: Sequence[Timed]) -> list[Entry]:
    found = []
    for seq, (at_s, author, event) in enumerate(facts, 1):
        now = BEGAN + dt.timedelta(seconds=at_s)
        post = Post(id=f"post-{seq}", at=now, author=author, event=event)
        found.append(wire.entry(seq, now, wire.subject_of("a", post), wire.encode(post)))
    return found


async def asked(path: Path, log: Sequence[Entry], *statements: str) -> list[list[list[Any]]]:
    projection = Projection.open(path)
    try:
        projection.checkpoint("a", "one", len(log))
        for begin in range(0, len(log), 50):
            projection.append("a", "one", log[begin : begin + 50])
        queries = SqlServer(projection)
        return [await rows(queries, sql) for sql in statements]
    finally:
        projection.close()


def joined(boot: str, price: float | None, slots: int = 1, provider: str = "", spot: bool = False) -> e.WorkerJoined:
    return e.WorkerJoined(
        boot=boot,
        worker_class="cuda-h100",
        device="H100",
        slots=slots,
        price_per_hour_usd=price,
        provider=provider,
        spot=spot,
    )


def ended(run: str, boot: str, slot_s: float, usd: float | None, value: float | e.Failed = 1.0) -> e.RunFinished:
    done = finish(run, T1, value)
    return replace(done, worker=boot, worker_class="cuda-h100", cost=e.Cost(usd=usd, seconds=slot_s))


async def test_the_time_of_a_worker_is_divided_into_runs_lost_attempts_and_idleness(tmp_path: Path) -> None:
    log = log_of(
        [
            (0, "op", opened()),
            (0, "ann", proposal(T1, how="baseline")),
            (0, "gpu", joined("b1", 36.0, slots=2, provider="runpod")),  # a cent per second, half of it per slot
            (10, "cur", request("r1", T1)),
            (10, "cur", request("r2", T1, 2)),
            (20, "gpu", e.RunStarted(run="r1", attempt=1, worker="b1")),
            (20, "gpu", e.RunStarted(run="r2", attempt=1, worker="b1")),
            (70, "gpu", ended("r1", "b1", 50.0, 0.25)),
            (100, "gpu", e.WorkerLeft(boot="b1", reason="preempted")),
            (110, "own", joined("b2", 0.0)),
            (115, "own", e.RunStarted(run="r2", attempt=2, worker="b2")),
            (215, "own", ended("r2", "b2", 100.0, 0.0)),
            (215, "cloud", joined("b3", None)),
            (220, "cloud", e.WorkerLeft(boot="b3")),
        ]
    )
    statements = (
        "SELECT what, who, count, round(usd, 6), usd_unknown, seconds FROM cost WHERE what IN ('run', 'lost', 'idle')",
        "SELECT worker_class, provider, slots, price_per_hour_usd, price_unknown, trials, scored, median_run_s, "
        "trials_per_hour, run_s, lost_s, idle_s, share_lost, share_idle, usd, usd_unknown, usd_per_trial, "
        "usd_per_scored, usd_per_promotion FROM economics WHERE provider = 'runpod'",
        "SELECT provider, workers, price_unknown, usd, usd_unknown, usd_per_trial FROM economics "
        "WHERE provider IS NULL",
    )
    cost, [rented], others = await asked(tmp_path / "a.duckdb", log, *statements)
    assert cost == [
        ["idle", "cloud", 1, None, 1, 5.0],
        ["idle", "gpu", 1, 0.35, 0, 70.0],
        ["idle", "own", 1, 0.0, 0, 5.0],
        ["lost", "gpu", 1, 0.4, 0, 80.0],
        ["run", "gpu", 1, 0.25, 0, 50.0],
        ["run", "own", 1, 0.0, 0, 100.0],
    ]
    assert rented[:12] == ["cuda-h100", "runpod", 2, 36.0, 0, 1, 1, 50.0, 144.0, 50.0, 80.0, 70.0]
    assert rented[12:14] == [0.4, 0.35]
    assert [rented[14], *rented[16:18]] == pytest.approx([1.0, 1.0, 1.0])  # all that the machine cost in 100 s
    assert (rented[15], rented[18]) == (0, None)
    assert others == [[None, 2, 1, None, 1, None]]


THOUGHT = e.Cost(usd=0.5, tokens_in=1, tokens_out=1)
GAINED: list[Timed] = [
    # a worker of a cent per second, which is never idle, and a model: the loss goes from 3 to 2
    (0, "op", opened()),
    (0, "gpu", joined("b1", 36.0)),
    (0, "ann", proposal(T0, how="baseline")),
    (0, "cur", request("r0", T0)),
    (0, "gpu", e.RunStarted(run="r0", attempt=1, worker="b1")),
    (50, "gpu", replace(ended("r0", "b1", 50.0, 0.5, 3.0), proposal=T0, trial_s=50.0)),
    (50, "cur", promote(T0, "", 1)),
    (50, "rex", replace(proposal(T2, T0, how="model"), cost=THOUGHT)),
    (50, "cur", request("r2", T2)),
    (50, "gpu", e.RunStarted(run="r2", attempt=1, worker="b1")),
    (100, "gpu", replace(ended("r2", "b1", 50.0, 0.5, 2.0), proposal=T2, trial_s=50.0)),
    (100, "cur", promote(T2, T0, 2)),
    (100, "gpu", e.WorkerLeft(boot="b1")),
]


async def test_promotions_and_the_frontier_have_their_dollars(tmp_path: Path) -> None:
    statements = ("SELECT best, gain, usd FROM frontier", "SELECT promoted, usd, usd_per_promotion FROM economics")
    frontier, [[promoted, usd, each]] = await asked(tmp_path / "a.duckdb", log_of(GAINED), *statements)
    assert frontier[0][2] == pytest.approx(0.5)
    assert frontier[1] == [2.0, 1.0, pytest.approx(1.5)]
    assert (promoted, usd, each) == (1, pytest.approx(1.0), pytest.approx(1.0))


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (36.0, "0.667 per dollar"),
        (None, "per dollar not known, because 3 prices are not"),
    ],
)
async def test_the_report_says_what_the_gain_cost(price: float | None, words: str, tmp_path: Path) -> None:
    facts = [
        (at, who, replace(fact, price_per_hour_usd=price) if isinstance(fact, e.WorkerJoined) else fact)
        for at, who, fact in GAINED
    ]
    if price is None:
        facts = [
            (at, who, replace(fact, cost=None) if isinstance(fact, e.RunFinished) else fact) for at, who, fact in facts
        ]
    path = tmp_path / "a.duckdb"
    await asked(path, log_of(facts))
    projection = Projection.open(path)
    try:
        queries = SqlServer(projection)
        data = await report_data(lambda sql: rows(queries, sql), "a")
    finally:
        projection.close()
    assert gain_for(data) == f"The gain of 1.0 over the baseline is 36 per hour, 36 per GPU-hour, {words}."


def random_history(seed: int) -> list[Timed]:
    """Workers that join, run, lose runs, leave, are killed and replaced; some without a price."""
    rng, now = random.Random(seed), 0.0
    facts: list[Timed] = [(0, "op", opened()), (0, "ann", proposal(T1, how="baseline"))]
    lives: dict[str, tuple[str, int, float | None, str]] = {}
    held: dict[str, tuple[str, float]] = {}
    attempts: defaultdict[str, int] = defaultdict(int)
    waiting: list[str] = []
    for number in range(250):
        now += rng.choice([0.0, 1.0, 7.5, 60.0])
        what = rng.random()
        if what < 0.12 or not lives:
            boot, name = f"b{number}", f"w{rng.randrange(4)}"
            for other, (named, *_) in list(lives.items()):
                if named == name:  # another life of that name, without a word of the first
                    del lives[other]
                    waiting += [run for run, (by, _) in held.items() if by == other]
                    held = {run: by for run, by in held.items() if by[0] != other}
            slots, price = rng.randrange(1, 4), rng.choice([None, 0.0, 1.5, 3.6, 12.0])
            lives[boot] = (name, slots, price, rng.choice(["", "vast", "runpod"]))
            facts.append((now, name, joined(boot, price, slots, lives[boot][3], spot=rng.random() < 0.3)))
        elif what < 0.2:
            boot = rng.choice(sorted(lives))
            name = lives.pop(boot)[0]
            facts.append((now, name, e.WorkerLeft(boot=boot, silent=rng.random() < 0.4)))
            waiting += [run for run, (by, _) in held.items() if by == boot]
            held = {run: by for run, by in held.items() if by[0] != boot}
        elif what < 0.5:
            run = f"r{number}"
            facts.append((now, "cur", request(run, T1, number)))
            waiting.append(run)
        elif what < 0.75 and waiting:
            run, boot = waiting.pop(0), rng.choice(sorted(lives))
            if sum(by == boot for by, _ in held.values()) < lives[boot][1]:
                attempts[run] += 1
                facts.append((now, lives[boot][0], e.RunStarted(run=run, attempt=attempts[run], worker=boot)))
                held[run] = (boot, now)
            else:
                waiting.append(run)
        elif held:
            run = rng.choice(sorted(held))
            boot, begun = held.pop(run)
            name, slots, price, _ = lives[boot]
            slot_s = round(now - begun, 3)
            usd = None if price is None else price / slots * slot_s / 3600
            outcomes: list[float | e.Failed] = [1.0, 2.0, e.Failed(reason="crash", message="boom")]
            facts.append((now, name, ended(run, boot, slot_s, usd, rng.choice(outcomes))))
    return facts


def recomputed(facts: Sequence[Timed]) -> dict[tuple[str, str], tuple[float, float, int]]:
    """Return slot seconds, known dollars and unknown parts by kind and life, by looking at each life alone."""
    found: dict[tuple[str, str], tuple[float, float, int]] = {}
    for at, (began, name, event) in enumerate(facts):
        if not isinstance(event, e.WorkerJoined):
            continue
        boot, later = event.boot, facts[at + 1 :]
        stop = len(later)
        end: float | None = None
        for index, (time, author, fact) in enumerate(later):
            if isinstance(fact, e.WorkerLeft) and fact.boot == boot:
                stop, end = index, None if fact.silent else time
                break
            if isinstance(fact, e.WorkerJoined) and author == name:
                stop = index
                break
        seen, mine = [began], dict[str, float]()
        spans: list[tuple[str, float]] = []
        for time, _, fact in later[:stop]:
            if isinstance(fact, e.RunStarted):
                if fact.run in mine:
                    seen.append(time)
                    spans.append(("lost", time - mine.pop(fact.run)))
                if fact.worker == boot:
                    mine[fact.run] = time
                    seen.append(time)
            elif isinstance(fact, e.RunFinished) and fact.worker == boot:
                seen.append(time)
                mine.pop(fact.run)
                assert fact.cost
                spans.append(("run", fact.cost.seconds or 0.0))
        last = end if end is not None else max(seen)
        is_gone = stop < len(later)
        for run, start in mine.items():
            again = next((t for t, _, f in later[stop:] if isinstance(f, e.RunStarted) and f.run == run), math.inf)
            if is_gone or again < math.inf:
                spans.append(("lost", max(0.0, min(last, again) - start)))
        whole = event.slots * (last - began)
        spans.append(("idle", max(0.0, whole - sum(seconds for _, seconds in spans))))
        price = event.price_per_hour_usd
        for kind in ("run", "lost", "idle"):
            own = [seconds for what, seconds in spans if what == kind]
            usd = (price or 0.0) / event.slots * sum(own) / 3600
            if own:
                found[kind, boot] = (sum(own), usd, len(own) if price is None else 0)
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_random_histories_cost_what_a_plain_recomputation_says(seed: int, tmp_path: Path) -> None:
    facts = random_history(seed)
    log = log_of(facts)
    sql = (
        "SELECT what, boot, sum(seconds), sum(usd), count(*) - count(usd) FROM internal.slot_time GROUP BY ALL",
        "SELECT sum(run_s), sum(lost_s), sum(idle_s), sum(usd_unknown), sum(trials), sum(scored) FROM economics",
        "SELECT what, sum(seconds), sum(usd), sum(usd_unknown) FROM cost "
        "WHERE what IN ('run', 'lost', 'idle') GROUP BY what",
    )
    found, [economics], costs = await asked(tmp_path / "a.duckdb", log, *sql)
    expected = recomputed(facts)
    assert {(what, boot) for what, boot, *_ in found} == set(expected)
    for what, boot, seconds, usd, unknown in found:
        assert (seconds, usd or 0.0, unknown) == (
            pytest.approx(expected[what, boot][0], abs=1e-6),
            pytest.approx(expected[what, boot][1], abs=1e-6),
            expected[what, boot][2],
        ), (what, boot)
    for what, seconds, usd, unknown in costs:
        of_kind = [each for (kind, _), each in expected.items() if kind == what]
        assert (seconds, usd or 0.0, unknown) == (
            pytest.approx(sum(each[0] for each in of_kind)),
            pytest.approx(sum(each[1] for each in of_kind)),
            sum(each[2] for each in of_kind),
        )
    by_kind = [sum(each[0] for (kind, _), each in expected.items() if kind == what) for what in ("run", "lost", "idle")]
    assert economics[:3] == pytest.approx(by_kind)
    assert economics[3] == sum(each[2] for each in expected.values())


@pytest.mark.parametrize("seed", range(4))
async def test_the_board_counts_the_same_dollars_as_the_views(seed: int, tmp_path: Path) -> None:
    log = log_of(random_history(seed))
    board = Board(arena="a")
    for number, entry in enumerate(log):
        board.fold(entry)
        if number == len(log) // 2:
            again = from_bytes(to_bytes(board))  # a snapshot on the way changes nothing
            assert again is not None
            board = again
    costs = board.worker_costs
    for life in costs.lives.values():  # the views know no present: what is there costs up to its last sign of life
        costs.ended_usd += life.usd(life.last)
    costs.lives.clear()
    sql = "SELECT sum(price_per_hour_usd * epoch(ended_at - joined_at) / 3600) FROM internal.lives"
    [[[lives]]] = await asked(tmp_path / "a.duckdb", log, sql)
    assert spent_usd(board, board.time) == pytest.approx(lives)


async def test_the_views_are_rebuilt_byte_for_byte(tmp_path: Path) -> None:
    log = log_of(random_history(9))
    statements = (
        "FROM cost",
        "FROM economics",
        "FROM frontier",
        "FROM workers",
        "FROM internal.slot_time ORDER BY ALL",
    )
    first = await asked(tmp_path / "one.duckdb", log, *statements)
    assert repr(await asked(tmp_path / "two.duckdb", log, *statements)) == repr(first)
