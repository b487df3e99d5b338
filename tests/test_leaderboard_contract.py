"""One leaderboard: random histories, folded by the board and by SQL, give the same rows, numbers and ranks."""

import datetime as dt
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import scipy.stats

from analytics.projection import TABLED, Projection
from mesh import events as e
from mesh import wire
from mesh.board import Board
from mesh.evidence import noise, student_t
from mesh.leaderboard import LeaderboardRow, Ranking, leaderboard
from mesh.memory import MemoryHub
from mesh.ruling_out import reinstated
from mesh.testing import content_hash, git_hash, run_of
from mesh.wire import Entry, Post
from mesh_cli.history.import_results import Source, import_results
from tests.support.history import SPEC, T1, T2, T3, T4, T9, opened, proposal, request

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CLASSES = ("cuda-h200", "cpu", "cuda-h100", "é")
HISTORIES = 240
COLUMNS = ", ".join(LeaderboardRow.__struct_fields__)


class History:
    """A random history: what an arena could live through, and some of what it should not."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.told: list[tuple[str, e.AnyEvent]] = []
        self.classes = rng.sample(CLASSES, rng.choice((1, 1, 2, 3, 4)))
        self.digits = rng.choice((-1, 0, 15))
        """Of a value; with few of them there are many ties."""
        self.exact = rng.random() < 0.25
        self.more = random.Random(-seed)
        """For what was added later, so that the histories stay what they were."""
        self.constrained = self.more.random() < 0.25
        self.staged = random.Random(f"stages {seed}").random() < 0.25
        self.trees = [f"{n:040x}" for n in range(rng.randrange(2, 12))]
        self.board = Board(arena="a")
        self.goal = SPEC.objective
        self.number = 0
        self.asked: list[e.RunRequested] = []
        self.add(self.opening(1))
        for tree in self.trees[: rng.randrange(1, len(self.trees) + 1)]:
            self.add(proposal(tree))
        for _ in range(rng.choice((8, 30, 100, 160))):
            self.add(self.event())

    def add(self, event: e.AnyEvent) -> None:
        """Take the next fact to the history, and to the board by which the following ones are chosen."""
        self.told.append((self.rng.choice(("ann", "bob")), event))
        self.board.fold(logged("a", [self.told[-1]], after=len(self.told) - 1)[0])

    def opening(self, version: int) -> e.ArenaOpened:
        rng = self.rng
        goal = msgspec.structs.replace(
            SPEC.objective,
            direction=rng.choice(("minimize", "maximize"))
            if version == 1 or rng.random() < 0.2
            else self.goal.direction,
            noise="none" if self.exact or rng.random() < 0.05 else self.more.choice(("measured", "measured", "items")),
            also=self.more.choice(((), ("acc",), ("p95", "acc", "gone"))),
        )
        self.goal = goal
        spec = msgspec.structs.replace(SPEC, objective=goal)
        evaluator = content_hash("ev" if rng.random() < 0.7 else f"ev{version}")
        return e.ArenaOpened(
            version=version,
            spec=spec,
            base_commit=git_hash("c"),
            base_tree=rng.choice(self.trees[:3]),
            evaluator=evaluator,
            ruled_out=self.rulings(version),
        )

    def rulings(self, version: int) -> tuple[e.RuledOut, ...]:
        """What a version rules out: also what nobody has proposed."""
        rng = random.Random(f"rulings {self.number} {version} {self.trees[-1]}")
        chosen = [tree for tree in self.trees if rng.random() < 0.15] if version > 1 else []
        if self.board.champion not in ("", *chosen) and version > 1 and rng.random() < 0.25:
            chosen.append(self.board.champion)
        return tuple(e.RuledOut(text=f"changed K{n}", proposals=(tree,)) for n, tree in enumerate(chosen))

    def event(self) -> e.AnyEvent:
        rng, board = self.rng, self.board
        self.number += 1
        late = random.Random(f"late {self.number} {self.trees[-1]} {len(self.told)}")
        if late.random() < 0.01:
            rule = late.choice(("fixed", "fixed", "sound"))
            known = list(board.proposals)
            target = late.choice([*known, board.champion or known[0]])
            return e.CritiquePosted(
                target=target, verdict=late.choice(("block", "block", "warn")), rule=rule, text=rule
            )
        if late.random() < 0.02 and (again := reinstated(board)):
            return again
        draw = rng.random()
        if draw < 0.08:
            return proposal(rng.choice(self.trees))
        if draw < 0.50 or not self.asked:
            assert board.opened is not None
            run = f"r{self.number}" if rng.random() < 0.95 else f"r{rng.randrange(1, self.number + 1)}"
            tree = rng.choice(self.trees[: rng.randrange(1, len(self.trees) + 1)])
            lane = rng.choice(("explore", "confirm", "control"))
            lane = "sealed" if self.more.random() < 0.06 else lane
            asked = msgspec.structs.replace(
                request(run, tree, rng.randrange(5)), lane=lane, evaluator=board.opened.evaluator
            )
            self.asked.append(asked)
            return asked
        if draw < 0.88:
            return self.finish(self.asked.pop(rng.randrange(len(self.asked))))
        if draw < 0.94:
            met = board.champion if rng.random() < 0.8 else rng.choice(["", *self.trees])
            return e.ProposalPromoted(proposal=rng.choice(self.trees), round=self.number, met=met, mean=0.0)
        if draw < 0.99:
            why: Any = rng.choice(
                ("demoted", "demoted", "demoted", "not_better", "not_better", "not_better", "failed", "blocked")
            )
            p = rng.choice((None, 0.3, 0.7999, 0.8, 0.85, 0.9, 0.95, 0.99))
            return e.ProposalRetired(proposal=rng.choice(self.trees), round=self.number, why=why, p_better=p)
        assert board.opened is not None
        return self.opening(board.opened.version + rng.choice((1, 1, 2)))

    def items(self) -> e.ItemsKept | None:
        if self.more.random() < 0.5:
            return None
        return e.ItemsKept(sha256=content_hash("items"), count=9, margin=self.more.choice((0.0, 0.1, 0.7)))

    def finish(self, asked: e.RunRequested) -> e.RunFinished:
        rng = self.rng
        if rng.random() < 0.1:
            self.asked.append(asked)  # it will be finished twice
        outcome: e.Scored | e.Failed = e.Failed(reason="crash", message="boom")
        if rng.random() < 0.9:
            more = self.more
            numbers = {"acc": more.random(), "p95": more.random()} if more.random() < 0.8 else {}
            value = 0.1 * round(10 * rng.gauss(2, 0.3), self.digits)
            outcome = e.Scored(value=value, self_reported=rng.random() < 0.1, metrics=numbers)
            if self.constrained and more.random() < 0.2:
                outcome = e.Infeasible(message="p95", value=value, violation=more.choice((0.5, 1.5)), metrics=numbers)
            elif self.staged and more.random() < 0.2:
                far, left = more.choice((0.5, 1.5)), more.choice((1, 2))
                outcome = e.ScreenedOut(message="", stage="dev", value=value, violation=far, left=left, metrics=numbers)
        return e.RunFinished(
            run=asked.run, proposal=asked.proposal, outcome=outcome, worker="w", worker_class=rng.choice(self.classes),
            trial_s=rng.random(), evaluator=rng.choice(("", "", "", "", "", "", *map(content_hash, ("ev", "old")))),
            budget_used_s=rng.random(), budget_counts=rng.choice(("", "cpu", "cpu", "wall")), items=self.items(),
        )  # fmt: skip


def logged(arena: str, told: Sequence[tuple[str, e.AnyEvent]], *, after: int = 0) -> list[Entry]:
    entries = []
    for seq, (author, event) in enumerate(told, after + 1):
        post = Post(id=f"p{seq}", at=START, author=author, event=event)
        subject = wire.subject_of(arena, post)
        entries.append(wire.entry(seq, START + dt.timedelta(seconds=seq), subject, wire.encode(post)))
    return entries


def by_board(arena: str, entries: Sequence[Entry]) -> list[LeaderboardRow]:
    board = Board(arena=arena)
    for entry in entries:
        board.fold(entry)
    return leaderboard(board)


def by_sql(path: Path, logs: dict[str, list[Entry]]) -> dict[str, list[LeaderboardRow]]:
    projection = Projection.open(path)
    try:
        for arena, entries in logs.items():
            projection.checkpoint(arena, "log", len(entries))
            projection.append(arena, "log", entries)
        found: dict[str, list[LeaderboardRow]] = {arena: [] for arena in logs}
        with projection.cursor() as db:
            for arena, *values in db.execute(
                f"SELECT arena, {COLUMNS} FROM leaderboard ORDER BY arena, rank"
            ).fetchall():
                found[arena].append(LeaderboardRow(*values))
        return found
    finally:
        projection.close()


def close_to(row: LeaderboardRow) -> list[Any]:
    """Return the values of a row, with bounds that are as good as equal equal to it."""
    values = msgspec.structs.asdict(row)
    for name in ("low", "high"):
        if (bound := values[name]) is not None:
            values[name] = pytest.approx(bound, rel=1e-9, abs=1e-12)
    return list(values.values())


def columns(row: LeaderboardRow) -> list[Any]:
    return list(msgspec.structs.astuple(row))


@pytest.mark.parametrize("part", range(4))
def test_the_board_and_sql_rank_random_histories_the_same(part: int, tmp_path: Path) -> None:
    seeds = range(part * HISTORIES // 4, (part + 1) * HISTORIES // 4)
    logs = {f"a{seed}": logged(f"a{seed}", History(seed).told) for seed in seeds}
    found = by_sql(tmp_path / "a.duckdb", logs)
    for arena, entries in logs.items():
        assert list(map(columns, found[arena])) == list(map(close_to, by_board(arena, entries))), arena


def test_the_board_and_sql_agree_on_champions_and_on_what_is_ruled_out(tmp_path: Path) -> None:
    logs = {f"a{seed}": logged(f"a{seed}", History(seed).told) for seed in range(0, HISTORIES, 4)}
    projection = Projection.open(tmp_path / "a.duckdb")
    try:
        for arena, entries in logs.items():
            projection.checkpoint(arena, "log", len(entries))
            size = random.Random(arena).choice((1, 7, max(1, len(entries) // 2), len(entries)))
            for start in range(0, len(entries), size):
                projection.append(arena, "log", entries[start : start + size])
        for arena, entries in logs.items():
            board = Board(arena=arena)
            for entry in entries:
                board.fold(entry)
            with projection.cursor() as db:
                found = db.execute(f"SELECT proposal, reigns FROM champions WHERE arena = '{arena}' ORDER BY reign")
                reigns = found.fetchall()
                sql = f"SELECT proposal, state, ruled_out FROM proposals WHERE arena = '{arena}' ORDER BY seq"
                states = db.execute(sql).fetchall()
            assert [tree for tree, _ in reigns] == board.champions, arena
            assert [tree for tree, now in reigns if now] == ([board.champion] if board.champion else []), arena
            known = board.proposals.items()
            assert [row[::2] for row in states] == [(tree, p.ruled_out or None) for tree, p in known], arena
            assert all((state == "ruled_out") == bool(board.proposals[tree].ruled_out) for tree, state, _ in states)
    finally:
        projection.close()


def test_the_random_histories_have_what_makes_rules_differ() -> None:
    met: Counter[str] = Counter()
    for seed in range(HISTORIES):
        met.update(set(features(History(seed).board)))
    wanted = (
        "several classes",
        "tie",
        "stale score",
        "no interval",
        "exact",
        "minimize",
        "maximize",
        "ruled out",
        *STATES,
    )
    assert [name for name in wanted if met[name] < HISTORIES // 12] == []


STATES = ("claimed", "confirming", "champion", "past_champion", "demoted", "close", "retired", "infeasible")


def features(board: Board) -> Iterator[str]:
    rows = leaderboard(board)
    yield from (row.state for row in rows)
    yield board.spec.objective.direction
    if len({row.worker_class for row in rows}) > 1:
        yield "several classes"
    if len({(row.mean, row.fresh, row.worker_class) for row in rows}) < len(rows):
        yield "tie"
    if len(rows) > 1 and all(row.low is None for row in rows):
        yield "no interval"
    if board.spec.objective.noise == "none" and any(row.low is not None for row in rows):
        yield "exact"
    assert board.opened is not None
    if any(known.ruled_out for known in board.proposals.values()):
        yield "ruled out"
    if any(run.value is not None and run.evaluator != board.opened.evaluator for run in board.runs.values()):
        yield "stale score"


async def test_an_imported_history_is_in_the_order_of_its_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    values = {"base": 0.9979, "worse": 1.005, "best": 0.9932, "same": 0.9932, "lucky": 0.99}
    status = {"base": "keep", "best": "keep"}
    lines = [
        f"{number}1b2c3d\t{value:.6f}\t44.0\t{status.get(name, 'discard')}\t{name}"
        for number, (name, value) in enumerate(values.items())
    ]
    path = tmp_path / "results.tsv"
    path.write_text("\n".join(["commit\tval_bpb\tmemory_gb\tstatus\tdescription", *lines, ""]), encoding="utf-8")
    hub = MemoryHub()
    await import_results(hub, Source(path, name="a"))
    entries = [entry async for batch in (await hub.arena("a")).read() for entry in batch]
    rows = by_board("a", entries)
    assert [row.title for row in rows] == ["lucky", "best", "same", "base", "worse"]
    assert [row.state for row in rows] == ["retired", "champion", "retired", "past_champion", "retired"]
    assert by_sql(tmp_path / "a.duckdb", {"a": entries}) == {"a": rows}


def test_the_interval_is_student_s_of_the_noise_since_the_last_promotion(tmp_path: Path) -> None:
    noisy = [1.0, 9.0, 4.0, 6.0]  # of a proposal that was given up before
    quiet = {T1: [2.0, 2.2, 2.1, 2.3], T2: [2.6, 2.5, 2.9, 2.7], T3: [3.0, 3.1, 3.4, 3.2], T4: [3.5, 3.7]}
    told: list[tuple[str, e.AnyEvent]] = [("ann", opened()), *(("ann", proposal(tree)) for tree in (T9, *quiet))]
    told += runs(T9, noisy)
    told += [("ann", e.ProposalPromoted(proposal=T1, round=1, met="", mean=2.0))]
    told += [run for tree, values in quiet.items() for run in runs(tree, values)]
    dof = sum(len(values) - 1 for values in quiet.values())
    sd = (sum(len(v) * scipy.stats.tvar(v) * (len(v) - 1) / len(v) for v in quiet.values()) / dof) ** 0.5
    rows = by_board("a", logged("a", told))
    assert dof == 10
    assert [row.proposal for row in rows] == [T1, T2, T3, T4, T9]
    for row, values in zip(rows, [*quiet.values(), noisy], strict=True):
        mean = sum(values) / len(values)
        half = scipy.stats.t.ppf(0.975, dof) * sd / len(values) ** 0.5
        assert [row.low, row.high] == pytest.approx([mean - half, mean + half])
    assert list(map(columns, by_sql(tmp_path / "a.duckdb", {"a": logged("a", told)})["a"])) == list(map(close_to, rows))


def runs(tree: str, values: list[float]) -> Iterator[tuple[str, e.AnyEvent]]:
    for seed, value in enumerate(values):
        run = run_of(tree, seed=seed)
        yield "ann", msgspec.structs.replace(request(run, tree, seed), lane="confirm")
        done = e.Scored(value=value)
        yield "w", e.RunFinished(run=run, proposal=tree, outcome=done, worker="w", worker_class="cpu", trial_s=1.0)


def test_a_row_is_of_one_worker_class_and_says_which() -> None:
    log: list[tuple[str, e.AnyEvent]] = [("ann", opened()), *(("ann", proposal(tree)) for tree in (T1, T2))]
    done = e.RunFinished(run="", proposal="", outcome=e.Scored(value=0.0), worker="w", worker_class="", trial_s=1.0)
    for number, (tree, where, value) in enumerate(
        [(T1, "cpu", 5.0), (T1, "gpu", 1.0), (T1, "gpu", 2.0), (T2, "cpu", 7.0)]
    ):
        log += [("ann", request(f"r{number}", tree))]
        scored = e.Scored(value=value)
        log += [
            ("w", msgspec.structs.replace(done, run=f"r{number}", proposal=tree, outcome=scored, worker_class=where))
        ]
    rows = by_board("a", logged("a", log))
    assert [(row.proposal, row.worker_class, row.mean, row.seeds) for row in rows] == [
        (T1, "cpu", 5.0, 1),  # of equally many scores of each class, the smaller name
        (T2, "cpu", 7.0, 1),
    ]


def test_the_noise_in_force_is_that_of_the_curator(tmp_path: Path) -> None:
    logs = {f"a{seed}": logged(f"a{seed}", History(1000 + seed).told) for seed in range(40)}
    projection = Projection.open(tmp_path / "a.duckdb")
    try:
        for arena, entries in logs.items():
            board = Board(arena=arena)
            for entry in entries:
                board.fold(entry)
            projection.checkpoint(arena, "log", len(entries))
            projection.append(arena, "log", entries)
            with projection.cursor() as db:
                sql = f"SELECT worker_class, sd, dof FROM internal.noise_in_force WHERE arena = '{arena}' ORDER BY ALL"
                found = db.execute(sql).fetchall()
            ranking = Ranking(board)
            classes = sorted({name for tree in board.proposals for name in ranking.standings(tree)})
            known = [(name, noise(board, name)) for name in classes]
            assert found == [(name, pytest.approx(n.sd, rel=1e-9, abs=1e-15), n.dof) for name, n in known if n.dof]
    finally:
        projection.close()


def test_the_quantile_of_student_s_t_is_right_beyond_the_table_too(tmp_path: Path) -> None:
    projection = Projection.open(tmp_path / "a.duckdb")
    try:
        with projection.cursor() as db:
            tabled = dict(db.execute("FROM internal.student_t").fetchall())
            [(sql,)] = db.execute("SELECT sql FROM duckdb_views() WHERE view_name = 'noise_in_force'").fetchall()
            assert tabled == {dof: student_t(dof) for dof in range(1, TABLED + 1)}
            expansion = sql[sql.index("t.t975,") + len("t.t975,") : sql.index(") AS t975")]
            for dof in (TABLED + 1, 3000, 10**5, 10**9):
                [(found,)] = db.execute(f"SELECT {expansion} FROM (SELECT {dof}::BIGINT AS dof) c").fetchall()
                assert found == pytest.approx(scipy.stats.t.ppf(0.975, dof), rel=1e-9)
    finally:
        projection.close()
