"""The harness of the benchmarks; no benchmark itself, for times are no reason to fail."""

import datetime as dt
import importlib
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import busy, kill, nanolm, swarm
from benchmarks.__main__ import benchmarks_by_name, main
from benchmarks.parts import harness, mix, nanolm_sides
from benchmarks.parts.trials import Run, per_second
from benchmarks.parts.virtual_workers import opening_runs
from mesh import arena, wire
from mesh import events as e
from mesh.memory import MemoryHub
from mesh.testing import Log, git_hash
from mesh.wire import Post


def test_an_unknown_benchmark_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "nothing"])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    names = "asks, board, busy, cluster, decisions, evaluations, fleet, gateway, halving, kill, log, log_size"
    names += ", members, nanolm, page, paired, reading, replay, rights, search, select, swarm, trial_overhead"
    assert printed.err == f"benchmarks: NAME is 'nothing'; use one of {names}\n"


@pytest.mark.parametrize("name", benchmarks_by_name())
def test_a_benchmark_has_goals_and_says_what_it_measures(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    assert module.GOALS
    assert module.__doc__


@pytest.mark.parametrize(
    ("figures", "holds"),
    [({"a": 0.7, "b": 1.0}, True), ({"a": 0.69, "b": 1.0}, False), ({"a": 1, "b": 1.16}, False), ({"a": 1}, False)],
)
def test_every_goal_must_hold_and_the_last_line_says_so(
    figures: harness.Figures, holds: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    goals: dict[str, harness.Goal] = {"a": (">=", 0.7), "b": ("within", (0.85, 1.15))}
    harness.show(harness.judge("x", figures, goals))
    last = msgspec.json.decode(capsys.readouterr().out.splitlines()[-1])
    assert last.keys() == {"name", "figures", "goals", "holds", "machine"}
    assert last["holds"] is holds
    assert last["goals"] == {"a": [">=", 0.7], "b": ["within", [0.85, 1.15]]}


def test_a_settled_history_has_nothing_undecided_and_its_arena_has_a_champion() -> None:
    log = Log()
    first = mix.opening("a")
    facts = [first, *opening_runs(first), *mix.posts("a-", 1000, settled=True)]
    for post in facts:
        log.add(post.author, post.event)
    board = log.board
    assert isinstance(first.event, e.ArenaOpened)
    assert board.champion == first.event.base_tree
    assert len(board.scores(board.champion)) == 8
    assert not board.undecided
    assert not board.unfinished
    assert not board.void
    assert len(board.proposals) == 101


def test_the_mix_of_facts_has_no_key_twice_and_can_be_written() -> None:
    posts = [*mix.posts("a-", 1000), *mix.posts("b-", 1000)]
    assert len({wire.key_filter("x", post) for post in posts}) == len(posts) == 2000
    assert {post.kind for post in posts} >= {"proposal.posted", "critique.posted", "run.finished", "note.posted"}
    assert all(wire.decode(wire.subject_of("x", post), wire.encode(post)) == post for post in posts[:20])


async def test_the_audit_counts_what_is_lost_and_what_is_double() -> None:
    bus = await MemoryHub().arena("a", create=True)
    requests = [
        e.RunRequested(
            run=run, lane="explore", proposal=git_hash("p"), commit=git_hash("c"), seed=1, budget_s=1, deadline_s=2
        )
        for run in ("answered", "twice", "never")
    ]
    facts: list[e.AnyEvent] = [e.AgentJoined(boot="b", role="critic"), *requests, *map(swarm.finish, requests[:2])]
    await bus.post_all([Post.new("ann", fact) for fact in facts])
    again = Post.new("bob", swarm.finish(requests[1]))
    bus.append_raw(wire.subject_of("a", again), wire.encode(again))
    found = swarm.audit([entry async for batch in bus.read() for entry in batch], agents=1)
    assert (found["requests"], found["double_facts"]) == (3, 1)
    assert found["lost_facts"] == 2  # a run without an end, and an agent that never left


def ended(begin: float, end: float) -> Run:
    """A run that was asked for at 0, whose trial ran from `begin` to `end`, and whose finish came 1 s after that."""
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    finish = swarm.finish(
        e.RunRequested(
            run="r", lane="explore", proposal=git_hash("p"), commit=git_hash("c"), seed=1, budget_s=1, deadline_s=2
        )
    )
    outcome = e.Scored(value=1, metrics={"loss": 1, "begin": begin, "end": end})
    return Run(at, at + dt.timedelta(seconds=end + 1), msgspec.structs.replace(finish, outcome=outcome))


def test_the_share_of_a_slot_is_what_is_in_trials_between_the_first_begin_and_the_last_end() -> None:
    assert busy.share([ended(1, 3), ended(5, 9)], slots=1) == 6 / 8
    assert busy.share([ended(1, 5), ended(1, 3), ended(3, 5)], slots=2) == 1


def test_the_rate_of_runs_counts_from_the_request_to_the_last_finish() -> None:
    assert per_second([ended(1, 3), ended(5, 9)]) == 2 / 10
    assert harness.percentile([float(n) for n in range(200)], 99) == 198


def test_a_survivor_of_a_tree_is_found_and_ended() -> None:
    tag = f"a-survivor-{os.getpid()}"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", tag]) as process:
        assert kill._survivors(tag) == 1
        assert process.wait(60) == -9
    assert kill._survivors(tag) == 0


def test_the_final_part_of_nanolm_is_cut_out_of_all_that_a_search_has(tmp_path: Path) -> None:
    def prepared(folder: Path) -> dict[str, bytes]:
        prepare = arena.load_arena(folder).artifact.prepare
        subprocess.run([sys.executable, *prepare[1:]], cwd=folder, check=True, env={"MESH_OUT": str(folder / "made")})
        return {path.stem: path.read_bytes() for path in (folder / "made").rglob("*.bin")}

    original = tmp_path / "original"
    shutil.copytree(nanolm_sides.ARENA, original)
    ours = prepared(original)
    search, final = (prepared(nanolm_sides.copied(cut, 0.5, tmp_path)) for cut in ("search", "final"))
    assert arena.load_arena(tmp_path / "final").trial.budget_s == 0.5
    assert (search["val"], search["heldout"]) == (ours["val"], ours["heldout"])
    assert final["train"] == search["train"]
    assert len(final["val"]) == len(ours["val"])
    for start in range(0, len(final["val"]), len(final["val"]) // 64):
        page = final["val"][start : start + 1000]
        assert page in ours["train"]
        assert not any(page in each for each in search.values())


def test_the_peers_of_nanolm_draw_from_the_baseline_and_nothing_twice() -> None:
    base = {"train.py": (nanolm_sides.ARENA / "train.py").read_bytes()}
    changed = {}
    for side in ("random", "best_of_n"):
        found = nanolm_sides.drawn(side, 1, 30, base, ("train.py",))
        assert found == nanolm_sides.drawn(side, 1, 30, base, ("train.py",))
        assert found[0] == ("baseline", base)
        assert len({files["train.py"] for _, files in found}) == len(found) == 30
        lines = base["train.py"].splitlines()
        changed[side] = [sum(a != b for a, b in zip(lines, f["train.py"].splitlines(), strict=True)) for _, f in found]
    assert statistics.median(changed["best_of_n"]) <= 3 < 10 < statistics.median(changed["random"])


def test_the_figures_of_nanolm_compare_what_the_sides_chose_in_pairs() -> None:
    def trials(best: float) -> list[nanolm_sides.Trial]:
        return [nanolm_sides.Trial(value, "", 3.0, 2.0, {}) for value in (4.0, None, best, 5.0)]

    plan = nanolm.Plan(2.0, (2, 4), (1, 2), (7, 8, 9))
    worse = {"portfolio": 0.0, "random": 0.5, "best_of_n": 1.0}
    found = {(side, seed): trials(3 + more) for side, more in worse.items() for seed in plan.seeds}
    ends = {
        (side, seed): [seed + more + n / 10 for n in range(3)] for side, more in worse.items() for seed in plan.seeds
    }
    told = nanolm.figures(found, ends, plan)
    assert nanolm.GOALS.keys() <= told.keys()
    assert (told["best.random.2"], told["best.random.4"], told["failed.random"]) == (4.0, 3.5, 0.25)
    assert told["over.random"] == told["over.random.low"] == told["over.random.high"] == pytest.approx(0.5)
    assert told["final.portfolio"] == pytest.approx(1.6)
    assert told["final.portfolio.low"] < told["final.portfolio"] < told["final.portfolio.high"]
