"""Views about thought, given a log of a few facts: what it cost, who was asked how often, how stale it was."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mesh import events as e
from mesh.testing import git_hash
from tests.support.folding import folded, rows
from tests.support.history import T0, T1, T2, T3, T4, T5, T6, finish, opened, proposal, request


async def asked(path: Path, history: Sequence[tuple[str, e.AnyEvent]], sql: str) -> list[list[Any]]:
    """Return the rows of a statement about a log of these facts, after the opening."""
    async with folded(path / "a.duckdb", [("op", opened()), *history]) as queries:
        return await rows(queries, sql)


async def test_critiques_of_a_model_cost_and_those_of_rules_do_not(tmp_path: Path) -> None:
    cost = e.Cost(usd=0.25, tokens_in=10, tokens_out=1)
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", proposal(T1)),
        ("cid", e.CritiquePosted(target=T1, verdict="endorse", cost=cost)),
        ("dan", e.CritiquePosted(target=T1, verdict="endorse")),
        ("cid", e.ModelAsked(model="m", purpose="critique", ok=False, cost=e.Cost(tokens_in=5, tokens_out=0))),
    ]
    sql = "SELECT what, who, count, usd, usd_unknown, tokens_in FROM cost WHERE who <> 'ann'"
    assert await asked(tmp_path, history, sql) == [
        ["critique", "cid", 1, 0.25, 0, 10],
        ["failed call", "cid", 1, None, 1, 5],
    ]


def sampled(tree: str, sampler: str, share: float | None) -> e.ProposalPosted:
    origin = e.Origin(how="sampler", name=sampler, share=share)
    return replace(proposal(tree, T0), origin=origin)


def ran(tree: str, value: float) -> list[tuple[str, e.AnyEvent]]:
    return [("cur", request(f"r-{tree}", tree)), ("w", finish(f"r-{tree}", tree, value))]


async def test_shares_of_samplers_show_how_they_moved_by_what_they_earned(tmp_path: Path) -> None:
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", e.AgentJoined(boot="b1", role="explorer")),
        ("bob", e.AgentJoined(boot="b2", role="explorer")),
        ("ann", proposal(T0, how="baseline")),
        *ran(T0, 9.0),
        ("ann", sampled(T1, "sobol", None)),
        *ran(T1, 10.0),
        ("ann", sampled(T2, "tpe", 0.2)),
        *ran(T2, 8.0),
        ("ann", sampled(T3, "mutate", 0.5)),
        *ran(T3, 11.0),
        ("ann", sampled(T4, "tpe", 0.6)),
        *ran(T4, 5.0),
        ("ann", sampled(T5, "mutate", 0.25)),
        ("bob", sampled(T6, "mutate", 0.3)),
    ]
    assert await asked(tmp_path, history, "SELECT agent, shares FROM agents") == [
        ["ann", "tpe 0.20 -> 0.60 (1/s), mutate 0.50 -> 0.25 (0/s)"],
        ["bob", "mutate 0.30 -> 0.30"],
    ]
    sql = "SELECT kind, first_share, last_share, round(mean_share, 3), earned_per_s FROM samplers"
    assert await asked(tmp_path, history, sql) == [
        ["tpe", 0.2, 0.6, 0.4, 1.0],
        ["mutate", 0.5, 0.3, 0.35, 0.0],
        ["sobol", None, None, None, 0.0],
    ]


async def test_staleness_counts_the_events_between_what_an_author_knew_and_the_first_result(tmp_path: Path) -> None:
    def knowing(tree: str, as_of: int) -> e.ProposalPosted:
        return replace(proposal(tree, T0), as_of=as_of)

    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", e.AgentJoined(boot="b1", role="explorer")),  # 2, after the opening
        ("ann", knowing(T1, 2)),
        ("ann", knowing(T2, 3)),
        ("bob", proposal(T3)),  # does not say what it knew
        ("ann", knowing(T4, 5)),  # without a result
        ("cur", request("r1", T1)),
        ("cur", request("r2", T2)),
        ("cur", request("r3", T3)),
        ("w", finish("r1", T1, 1.0)),  # 10
        ("cur", request("r1b", T1, 2)),
        ("w", finish("r3", T3, 1.0)),
        ("w", finish("r2", T2, e.Failed(reason="crash", message=""))),  # 13
        ("w", finish("r1b", T1, 1.0)),
    ]
    assert await asked(tmp_path, history, "SELECT proposal, staleness FROM proposals ORDER BY proposal") == [
        [T1, 7],
        [T2, 9],
        [T3, None],
        [T4, None],
    ]
    query = "SELECT agent, median_staleness FROM agents ORDER BY agent"
    assert await asked(tmp_path, history, query) == [["ann", 8.0], ["bob", None]]


async def test_an_idea_that_nothing_has_overtaken_is_as_stale_as_its_own_way(tmp_path: Path) -> None:
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", replace(proposal(T1), as_of=1)),
        ("cur", request("r1", T1)),
        ("w", finish("r1", T1, 1.0)),
    ]
    assert await asked(tmp_path, history, "SELECT staleness FROM proposals") == [[2]]


async def test_knobs_have_every_value_and_those_of_older_logs_what_was_changed(tmp_path: Path) -> None:
    knobs = (e.KnobChange(file="train.py", name="LR", old=0.1, new=0.2),)
    values: e.KnobValues = {"train.py": {"LR": 0.2, "ACT": 'ge"lu', "BIAS": True}, "more.py": {"B[0]": 3}}
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", replace(proposal(git_hash("t1")), knobs=knobs, values=values)),
        ("ann", replace(proposal(git_hash("t2")), knobs=knobs)),
    ]
    assert await asked(tmp_path, history, "SELECT seq, file, name, value, number FROM knobs") == [
        [2, "more.py", "B[0]", "3", 3.0],
        [2, "train.py", "LR", "0.2", 0.2],
        [2, "train.py", "ACT", 'ge"lu', None],
        [2, "train.py", "BIAS", "true", None],
        [3, "train.py", "LR", "0.2", 0.2],
    ]


async def test_metrics_have_all_numbers_of_a_score(tmp_path: Path) -> None:
    done = replace(finish("r1", git_hash("t1"), 1.0), outcome=e.Scored(value=1.0, metrics={"loss": 1.0, "acc": 0.75}))
    failed = finish("r2", git_hash("t1"), e.Failed(reason="crash", message=""))
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", proposal(git_hash("t1"))),
        ("cur", request("r1", git_hash("t1"))),
        ("cur", request("r2", git_hash("t1"), 2)),
        ("w", done),
        ("w", failed),
    ]
    sql = "SELECT run, name, value, proposal, lane, seed, seq FROM metrics"
    assert await asked(tmp_path, history, sql) == [
        ["r1", "loss", 1.0, git_hash("t1"), "explore", 1, 5],
        ["r1", "acc", 0.75, git_hash("t1"), "explore", 1, 5],
    ]


async def test_runs_have_what_they_took_of_their_gpu(tmp_path: Path) -> None:
    known = replace(finish("r1", git_hash("t1"), 1.0), peak_gpu_memory_mb=2612.0, gpu_utilisation=50.0)
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", proposal(git_hash("t1"))),
        ("cur", request("r1", git_hash("t1"))),
        ("cur", request("r2", git_hash("t1"), 2)),
        ("w", known),
        ("w", finish("r2", git_hash("t1"), 1.0)),
    ]
    sql = "SELECT run, peak_gpu_memory_mb, gpu_utilisation FROM runs ORDER BY run"
    assert await asked(tmp_path, history, sql) == [["r1", 2612.0, 50.0], ["r2", None, None]]
