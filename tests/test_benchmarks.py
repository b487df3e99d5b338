"""The harness of the benchmarks; no benchmark itself, for times are no reason to fail."""

import importlib

import msgspec
import pytest

from benchmarks import harness, mix, swarm
from benchmarks.__main__ import benchmarks_by_name, main
from mesh import events as e
from mesh import wire
from mesh.memory import MemoryHub
from mesh.wire import Post


def test_an_unknown_benchmark_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "nothing"])
    assert main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "benchmarks: there is no benchmark 'nothing': it is one of busy, kill, log, replay, swarm, trial_overhead\n"


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


def test_the_mix_of_facts_has_no_key_twice_and_can_be_written() -> None:
    posts = [*mix.posts("a-", 1000), *mix.posts("b-", 1000)]
    assert len({wire.key_filter("x", post) for post in posts}) == len(posts) == 2000
    assert {post.kind for post in posts} >= {"proposal.posted", "critique.posted", "run.finished", "note.posted"}
    assert all(wire.decode(wire.subject_of("x", post), wire.encode(post)) == post for post in posts[:20])


async def test_the_audit_counts_what_is_lost_and_what_is_double() -> None:
    bus = await MemoryHub().arena("a", create=True)
    requests = [
        e.RunRequested(run=run, lane="explore", proposal="p", commit="c", seed=1, budget_s=1, deadline_s=2)
        for run in ("answered", "twice", "never")
    ]
    facts: list[e.AnyEvent] = [e.AgentJoined(boot="b", role="critic"), *requests, *map(swarm.finish, requests[:2])]
    await bus.post_all([Post.new("ann", fact) for fact in facts])
    again = Post.new("bob", swarm.finish(requests[1]))
    bus.append_raw(wire.subject_of("a", again), wire.encode(again))
    found = swarm.audit([entry async for batch in bus.read() for entry in batch], agents=1)
    assert (found["requests"], found["double_facts"]) == (3, 1)
    assert found["lost_facts"] == 2  # a run without an end, and an agent that never left
