"""Views about thought, given a log of a few facts: what it cost, who was asked how often, how stale it was."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mesh import events as e
from tests.support.folding import folded, rows
from tests.support.history import finish, opened, proposal, request


async def asked(path: Path, history: Sequence[tuple[str, e.AnyEvent]], sql: str) -> list[list[Any]]:
    """Return the rows of a statement about a log of these facts, after the opening."""
    async with folded(path / "a.duckdb", [("op", opened()), *history]) as queries:
        return await rows(queries, sql)


async def test_critiques_of_a_model_cost_and_those_of_rules_do_not(tmp_path: Path) -> None:
    cost = e.Cost(usd=0.25, tokens_in=10, tokens_out=1)
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", proposal("t1")),
        ("cid", e.CritiquePosted(target="t1", verdict="endorse", cost=cost)),
        ("dan", e.CritiquePosted(target="t1", verdict="endorse")),
        ("cid", e.ModelAsked(model="m", purpose="critique", ok=False, cost=e.Cost(tokens_in=5, tokens_out=0))),
    ]
    sql = "SELECT what, who, count, usd, usd_unknown, tokens_in FROM cost WHERE who <> 'ann'"
    assert await asked(tmp_path, history, sql) == [
        ["critique", "cid", 1, 0.25, 0, 10],
        ["failed call", "cid", 1, None, 1, 5],
    ]


def sampled(tree: str, sampler: str, share: float | None) -> e.ProposalPosted:
    origin = e.Origin(how="sampler", name=sampler, share=share)
    return replace(proposal(tree, "t0"), origin=origin)


def ran(tree: str, value: float) -> list[tuple[str, e.AnyEvent]]:
    return [("cur", request(f"r-{tree}", tree)), ("w", finish(f"r-{tree}", tree, value))]


async def test_shares_of_samplers_show_how_they_moved_by_what_they_earned(tmp_path: Path) -> None:
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", e.AgentJoined(boot="b1", role="explorer")),
        ("bob", e.AgentJoined(boot="b2", role="explorer")),
        ("ann", proposal("t0", how="baseline")),
        *ran("t0", 9.0),
        ("ann", sampled("t1", "sobol", None)),
        *ran("t1", 10.0),
        ("ann", sampled("t2", "tpe", 0.2)),
        *ran("t2", 8.0),
        ("ann", sampled("t3", "mutate", 0.5)),
        *ran("t3", 11.0),
        ("ann", sampled("t4", "tpe", 0.6)),
        *ran("t4", 5.0),
        ("ann", sampled("t5", "mutate", 0.25)),
        ("bob", sampled("t6", "mutate", 0.3)),
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
        return replace(proposal(tree, "t0"), as_of=as_of)

    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", e.AgentJoined(boot="b1", role="explorer")),  # 2, after the opening
        ("ann", knowing("t1", 2)),
        ("ann", knowing("t2", 3)),
        ("bob", proposal("t3")),  # does not say what it knew
        ("ann", knowing("t4", 5)),  # without a result
        ("cur", request("r1", "t1")),
        ("cur", request("r2", "t2")),
        ("cur", request("r3", "t3")),
        ("w", finish("r1", "t1", 1.0)),  # 10
        ("cur", request("r1b", "t1", 2)),
        ("w", finish("r3", "t3", 1.0)),
        ("w", finish("r2", "t2", e.Failed(reason="crash", message=""))),  # 13
        ("w", finish("r1b", "t1", 1.0)),
    ]
    assert await asked(tmp_path, history, "SELECT proposal, staleness FROM proposals ORDER BY proposal") == [
        ["t1", 7],
        ["t2", 9],
        ["t3", None],
        ["t4", None],
    ]
    assert await asked(tmp_path, history, "SELECT agent, median_staleness FROM agents") == [["ann", 8.0]]


async def test_an_idea_that_nothing_has_overtaken_is_as_stale_as_its_own_way(tmp_path: Path) -> None:
    history: list[tuple[str, e.AnyEvent]] = [
        ("ann", replace(proposal("t1"), as_of=1)),
        ("cur", request("r1", "t1")),
        ("w", finish("r1", "t1", 1.0)),
    ]
    assert await asked(tmp_path, history, "SELECT staleness FROM proposals") == [[2]]
