"""Proof over items: one run per side where seeds repeat the items, and nobody is promoted by luck."""

import datetime as dt
import math
from typing import Any

import pytest
from msgspec.structs import replace
from scipy.special import stdtr

from agents.curation.admission import decide
from agents.curation.item_proof import compared, one_run_proves, pairs_to_compare, searches_on_proof
from agents.curator import Curator
from benchmarks.parts.item_arenas import ItemArena
from benchmarks.parts.noise_schemes import passes
from benchmarks.parts.null_arenas import BASE
from mesh.agent.code_reader import CodeReader
from mesh.agent.item_reader import ItemReader
from mesh.agent.protocol import Context
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.code import CodeStore
from mesh.errors import ObjectMissing
from mesh.events import ItemsCompared, ProposalPromoted, RunRequested
from mesh.evidence import fresh, noise, p_better
from mesh.item_evidence import ItemNoise, item_noise
from mesh.items import ItemScores, Spread, kept, spread_of_difference
from mesh.memory import MemoryBus
from mesh.testing import git_hash
from mesh.wire import Post

GOOD = git_hash("good")
EQUAL = {f"p{number}": 0.0 for number in range(8)}


def test_a_gain_over_items_is_proven_by_one_run_per_side() -> None:
    arena = ItemArena({"good": 0.05, **EQUAL}, "gain")
    arena.play()
    board = arena.log.board
    assert board.champions == [BASE, GOOD]
    first, won = (board.proposals[tree].rulings[-1] for tree in board.champions)
    assert first.text == "first champion: 3 seeds have the same items, so one run per side proves over them"
    assert won.text.endswith("on 300 common items")
    assert len(fresh(board, GOOD)) == 1
    assert isinstance(won, ProposalPromoted)
    assert won.low is not None
    assert won.high is not None
    assert won.high - won.low > 0.05  # the interval is that of the items, not of seeds without noise
    assert all(len(fresh(board, tree)) <= 1 for tree in board.proposals if tree not in board.champions)


def test_a_close_gain_is_not_run_again_on_the_same_items_and_says_what_would_prove_it() -> None:
    arena = ItemArena({"good": 0.012}, "close 3")
    arena.play()
    proposal = arena.log.board.proposals[GOOD]
    [ruling] = proposal.rulings
    assert "on 300 common items, and more seeds have the same items" in ruling.text
    assert "times as many items" in ruling.text
    assert len(fresh(arena.log.board, GOOD)) == 1


def test_the_curator_waits_for_the_comparison_and_a_replay_needs_no_object() -> None:
    arena = ItemArena({"good": 0.05}, "wait")
    board = arena.log.board
    while not pairs_to_compare(board):
        assert arena.step() is not None
    later = board.time + dt.timedelta(seconds=60)
    assert [event for event in decide(board, later) if not isinstance(event, RunRequested)] == []
    [(one, other)] = pairs_to_compare(board)
    assert (
        p_better(board, fresh(board, GOOD), fresh(board, BASE), noise(board, "cpu"), item_noise([one], [other])) == 0.5
    )
    arena.step()
    assert pairs_to_compare(board) == []
    again = from_bytes(to_bytes(board))
    assert again is not None
    assert decide(again, later) == decide(board, later) != []


def test_items_that_cannot_be_read_prove_nothing_and_block_nobody() -> None:
    arena = ItemArena({"good": 0.5}, "lost")
    board = arena.log.board
    while not pairs_to_compare(board):
        arena.step()
    for one, other in pairs_to_compare(board):
        arena.log.add("curator", compared(board, one, other, ObjectMissing("arena a has no object x")))
    arena.play()
    assert board.champions == [BASE]
    assert board.proposals[GOOD].why == "not_better"


@pytest.mark.parametrize(
    ("options", "shared"), [({}, False), ({"same": True}, True), ({"same": True, "named": False}, True)]
)
def test_it_is_seen_whether_search_and_proof_have_the_same_items(options: dict[str, Any], shared: bool) -> None:
    arena = ItemArena(EQUAL, "same", **options)
    arena.play()
    assert searches_on_proof(arena.log.board, "cpu") == shared
    assert one_run_proves(arena.log.board, "cpu")


@pytest.mark.parametrize("options", [{}, {"clusters": 40}, {"same": True}])
def test_arenas_of_equals_seldom_promote_over_items(options: dict[str, Any]) -> None:
    made, fooled = 30, 0
    for world in range(made):
        arena = ItemArena(EQUAL, f"null {world}", count=120, **options)
        arena.play()
        fooled += arena.promotions > 0
    assert fooled <= 8  # at a rate of 0.1, nine or more of thirty come once in 500 times


def test_clusters_are_not_taken_for_independent_items() -> None:
    arena = ItemArena({"good": 0.0}, "clustered", count=200, clusters=5)
    one, other = arena.items(GOOD, "confirm"), arena.items(BASE, "confirm")
    clustered = spread_of_difference(one, other, paired=True)
    alone = spread_of_difference(replace(one, clusters=()), replace(other, clusters=()), paired=True)
    assert clustered.dof == pytest.approx(4)
    assert clustered.error > 2 * alone.error


def test_other_items_are_compared_as_two_samples() -> None:
    arena = ItemArena({"good": 0.05}, "others")
    board = arena.log.board
    while not pairs_to_compare(board):
        arena.step()
    [(one, other)] = pairs_to_compare(board)
    mine, theirs = arena.vectors[one.requested.run], arena.vectors[other.requested.run]
    pair = compared(board, one, other, (mine, theirs))
    apart = compared(board, one, other, (mine, ItemScores(theirs.values[:250], (), theirs.ids)))
    assert (pair.common, apart.common) == (300, 0)
    assert pair.error is not None
    assert apart.error is not None
    assert apart.error > 2 * pair.error


def board_of_items() -> Board:
    return ItemArena({}, "any").log.board


def test_noise_between_seeds_is_added_to_that_of_fixed_items_and_contains_that_of_fresh_ones() -> None:
    board, found = board_of_items(), noise(board_of_items(), "cpu")
    found = replace(found, sd=0.3, dof=1000)
    over, seeds = {1: 1.0, 2: 1.0}, {1: 0.0, 2: 0.0}
    one = Spread(0.4, 1e6)
    fixed, fresh_items = (p_better(board, over, seeds, found, ItemNoise(one, fixed=fixed)) for fixed in (True, False))
    assert fixed == pytest.approx(stdtr(2700, 1 / 0.5), abs=1e-3)
    assert fresh_items == pytest.approx(stdtr(1e6, 1 / 0.4), abs=1e-6)


def test_bootstraps_as_seeds_fool_both_tests_and_items_fool_none() -> None:
    assert passes("bootstrap_paired", 0.0, 400) > 0.25
    assert passes("bootstrap_unpaired", 0.0, 400) > 0.06
    assert passes("items", 0.0, 400) < 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 400)
    assert passes("folds_unpaired", 0.02, 200) < 0.1


async def test_the_curator_reads_items_compares_them_once_and_keeps_few(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    arena = ItemArena({"good": 0.05}, "reader")
    board = arena.log.board
    bus = MemoryBus("a")
    code = CodeReader(CodeStore(tmp_path_factory.mktemp("c"), bus))
    curator = Curator(Context("curator", 0, code, items=ItemReader(bus)))
    while not pairs_to_compare(board):
        arena.step()
    for run in board.runs.values():
        if run.finished and run.finished.items and run.requested.lane in ("confirm", "control"):
            await bus.put(run.finished.items.sha256, arena.vectors[run.requested.run].to_bytes())
    post: Post = arena.log.add("ann", ItemsCompared(run="nothing", over="nothing"))
    facts = await curator.handle(post, board)
    assert [type(fact) for fact in facts] == [ItemsCompared]
    expected = [
        compared(board, a, b, (arena.vectors[a.requested.run], arena.vectors[b.requested.run]))
        for a, b in pairs_to_compare(board)
    ]
    assert facts == expected
    for fact in facts:
        arena.log.add("curator", fact)
    assert not [fact for fact in await curator.handle(post, board) if isinstance(fact, ItemsCompared)]


async def test_a_reader_of_items_holds_little_and_refuses_what_is_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesh.agent.item_reader.KEPT_NUMBERS", 25)
    bus = MemoryBus("a")
    reader = ItemReader(bus)
    vectors = [ItemScores(tuple(float(n + place) for place in range(10))) for n in range(4)]
    names = [kept(items, items.to_bytes()).sha256 for items in vectors]
    for name, items in zip(names, vectors, strict=True):
        await bus.put(name, items.to_bytes())
        assert await reader.items(name) == items
    assert len(reader._kept) == 2
    wrong = "0" * 64
    await bus.put(wrong, b"damaged")
    for name in (wrong, "1" * 64):
        with pytest.raises(ObjectMissing):
            await reader.items(name)
