"""What depends on all proofs of a long log is the same from a projector: the claims that wait, diffs; and leaves."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agents.curation.waiting_claims import waiting_words
from agents.search.structure.needless import PUT_BACK
from mesh import events as e
from mesh.errors import UnknownName
from mesh.evidence import fresh
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import cost_of
from mesh.ruling_out import FIXED
from mesh.spec import SelectionSpec
from mesh.testing import Log, content_hash, git_hash, opened
from mesh.wire import Post
from mesh_cli.connect import board_of, pair_of
from mesh_cli.live.status import spending_of
from mesh_cli.projected.asking import from_projector
from mesh_cli.projected.compared import projected_leaves, projected_proposals
from mesh_cli.projected.state import projected_state
from mesh_cli.proposals import lineage
from mesh_cli.proposals.diff import metric_of
from tests.test_projected_commands import HISTORIES, PARTS, alike, asks, told
from tests.test_race import NOISY

__all__ = ["asks"]

pytestmark = pytest.mark.timeout(900)


class Claims(Log):
    """A random history in which claims wait, because proof has had its share; `told` are its facts."""

    def __init__(self, seed: int) -> None:
        self.told: list[tuple[str, e.AnyEvent]] = []
        rng = random.Random(f"claims {seed}")
        selection = SelectionSpec(proof_share=rng.choice((0.02, 0.1, 0.3)), baseline_seeds=3)
        super().__init__(msgspec.structs.replace(NOISY, selection=selection))
        self.open()
        self.add("w", e.WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
        self.propose("base", how="baseline")
        self.score("base", 10.0)
        for number in range(rng.randrange(5, 40)):
            self.finish(self.request("base", seed=number + 2, lane="control"), 10 + rng.gauss(0, 0.1))
        self.promote("base")
        for number in range(rng.randrange(10, 40)):
            name, draw = f"p{number}", rng.random()
            if draw < 0.1:
                origin = e.Origin(how="sampler", name=PUT_BACK)
                parents = (git_hash(f"p{rng.randrange(number + 1)}"),)
                back = e.ProposalPosted(
                    tree=git_hash(name), commit=git_hash(name), title=name, origin=origin, parents=parents
                )
                self.add("ann", back)
            else:
                self.propose(name)
            if draw > 0.1:
                self.score(name, rng.choice((8.0, 9.0, 11.0)) + rng.random())
            if draw < 0.2:
                self.retire(name)
            elif draw < 0.3:
                race = 1000 * rng.randrange(1, 3)
                for seed_of in range(race, race + rng.randrange(1, 4)):
                    self.finish(self.request(name, seed=seed_of, lane="confirm"), 9.5 + rng.gauss(0, 0.1))
            elif draw < 0.33:
                self.add("critic", e.CritiquePosted(target=git_hash(name), verdict="block", rule=FIXED, text="no"))
            elif draw < 0.35:
                self.promote(name)
            elif draw < 0.37:
                self.add("w", e.WorkerLeft(boot="w"))
                self.add("w", e.WorkerJoined(boot="w2", worker_class="cpu", device="cpu", slots=20))
            elif draw < 0.39:
                changed = msgspec.structs.replace(opened(self.spec), version=2, evaluator=content_hash(f"e{number}"))
                self.add("operator", changed)

    def add(self, author: str, event: e.AnyEvent, *, after_s: float = 1.0) -> Post:
        """Post the next fact."""
        self.told.append((author, event))
        return super().add(author, event, after_s=after_s)


async def test_status_and_report_say_how_many_claims_wait_with_and_without_a_projector(
    tmp_path: Path, asks: Callable[[bool], None]
) -> None:
    waiting = Counter[bool]()
    asks(True)
    async with told(range(24), tmp_path / "a.duckdb", lambda seed: iter(Claims(seed).told)) as buses:
        for bus in buses:
            folded = waiting_words(await board_of(bus))
            state = await from_projector(bus, partial(projected_state, rate_over_s=0.0))
            assert state, bus.arena
            assert state.waiting == folded, bus.arena
            assert spending_of(state.board, state.time, state.waiting)["advice"][:1] == [folded] or not folded
            waiting[bool(folded)] += 1
    assert min(waiting[True], waiting[False]) > 2, waiting


@pytest.mark.parametrize("part", range(PARTS))
async def test_diff_and_leaves_say_the_same_with_and_without_a_projector(
    part: int, tmp_path: Path, asks: Callable[[bool], None]
) -> None:
    asks(True)
    compared = 0
    async with told(range(part, HISTORIES, PARTS), tmp_path / "a.duckdb") as buses:
        for bus in buses:
            board = await board_of(bus)
            whole, rng = Ranking(board), random.Random(bus.arena)
            found = await from_projector(bus, partial(projected_leaves, count=5))
            assert found, bus.arena
            leaves = [
                [lineage.line(of, tree) for tree in trees] for of, trees in (found, (whole, lineage.leaves(whole)[:5]))
            ]
            assert leaves[0] == leaves[1], bus.arena
            everyone = list(board.proposals)
            proven = [tree for tree in everyone if fresh(board, tree)] or everyone
            for trees in (everyone, everyone, proven, proven):
                first, second = rng.choice(trees), rng.choice([*trees, "champion", "baseline"])
                known = await from_projector(bus, partial(projected_proposals, words=[first, second]))
                assert (known is not None) == bool(board.champion), bus.arena
                if known is None:
                    continue
                assert (known.champions, known.bases) == (board.champions, board.bases)
                with suppress(UnknownName):
                    pair = pair_of(board, first, second)
                    assert pair_of(known, first, second) == pair
                    said = [msgspec.structs.asdict(metric_of(of, *pair)) for of in (known, board)]
                    differ = {
                        name: [each[name] for each in said]
                        for name in said[0]
                        if not alike(said[0][name], said[1][name])
                    }
                    assert differ == {}, (bus.arena, pair)
                    assert [cost_of(known, tree) for tree in pair] == [cost_of(board, tree) for tree in pair]
                    compared += said[0]["p_better"] is not None
            if board.champion:
                one = await from_projector(bus, partial(projected_proposals, words=[first]))
                assert one
                assert pair_of(one, first, None) == pair_of(board, first, None)
    assert compared
