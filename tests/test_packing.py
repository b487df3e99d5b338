"""A board that keeps what is settled in packs gives the same answers as one that packs nothing, after every fact."""

import random
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from agents.critique.claim_sums import ClaimSums
from agents.critique.shrinkage import judge_score
from agents.curation.admission import decide
from mesh import events as e
from mesh import kept
from mesh.board import Board, Critique, Proposal, Run
from mesh.board_bytes import from_bytes, from_parts, to_bytes, to_parts
from mesh.leaderboard import Ranking
from mesh.lean import lean_finish
from mesh.packing import Packer
from mesh.testing import BEGAN, git_hash
from tests.test_incremental import history_of, with_races
from tests.test_leaderboard_contract import logged

SEEDS = range(0, 120, 3)


def retiring(seed: int) -> list[tuple[str, e.AnyEvent]]:
    """Return a random history in which many proposals are retired, some of them before their runs have ended."""
    dice, trees, found = random.Random(f"retiring {seed}"), list[str](), list[tuple[str, e.AnyEvent]]()
    for author, fact in with_races(history_of(seed), random.Random(seed)):
        found.append((author, fact))
        trees += [fact.tree] if isinstance(fact, e.ProposalPosted) else []
        if trees and dice.random() < 0.1:
            whys: list[Literal["not_better", "failed", "blocked"]] = ["not_better", "failed", "blocked"]
            why = dice.choice(whys)
            met, seeds = dice.choice(["", *trees]), (dice.randrange(9),)
            verdict = e.ProposalRetired(proposal=dice.choice(trees), round=len(found), why=why, met=met, seeds=seeds)
            found.append(("curator", verdict))
    return found


def pack(board: Board) -> set[str]:
    """Put all that is settled into packs, and return what is in one."""
    for tree in board.proposals:
        board.proposals.put_in(tree)
    return {tree for tree, each in board.proposals.known.items() if type(each) is bytes}


def answers(board: Board, sums: ClaimSums) -> Any:
    """Return what is decided, ranked and judged from a board."""
    ranking = Ranking(board)
    judged = [judge_score(board, name, sums) for name in board.runs]
    states = [ranking.state(tree) for tree in board.proposals] if board.opened else []
    return decide(board, board.time) if board.opened else [], ranking.rows() if board.opened else [], judged, states


def lean(board: Board) -> dict[str, tuple[Any, list[Run]]]:
    """Return the proposals of a board without their texts, each with its runs."""
    return {tree: without_texts(each, board.runs) for tree, each in board.proposals.items()}


def without_texts(proposal: Proposal, runs: Mapping[str, Run]) -> tuple[Proposal, list[Run]]:
    critiques = tuple(replace(each, text="") for each in proposal.critiques)
    own = [
        replace(
            run,
            finished=run.finished and lean_finish(run.finished),
            critiques=tuple(replace(each, text="") for each in run.critiques),
        )
        for run in map(runs.__getitem__, (*proposal.runs, *proposal.sealed))
    ]
    return replace(proposal, event=replace(proposal.event, rationale=""), critiques=critiques, is_lean=True), own


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_are_the_same_after_every_fact(seed: int) -> None:
    plain, packed = Board(arena="a"), Board(arena="a")
    sums = ClaimSums(), ClaimSums()
    for entry in logged("a", retiring(seed)):
        plain.fold(entry)
        packed.fold(entry)
        pack(packed)
        assert answers(packed, sums[1]) == answers(plain, sums[0])
    assert lean(packed) == lean(plain)
    assert [*packed.runs] == [*plain.runs]
    assert [*reversed(packed.runs.items())][::-1] == [*packed.runs.items()]
    again = from_bytes(to_bytes(packed))
    assert again == packed
    assert again
    assert [*again.runs] == [*packed.runs]
    assert {type(each) for each in again.proposals.known.values()} == {
        type(each) for each in packed.proposals.known.values()
    }


def test_the_histories_have_packs_that_are_taken_out_and_put_back() -> None:
    packs = turns = back = 0
    for seed in SEEDS:
        board, there = Board(arena="a"), set[str]()
        for entry in logged("a", retiring(seed)):
            board.fold(entry)
            there = pack(board)
        taken = {*board.proposals.turns}
        packs, turns, back = packs + len(there), turns + len(taken), back + len(there & taken)
    assert min(packs, turns, back) > len(SEEDS), (packs, turns, back)


def whole_run(outcome: e.Scored | e.Failed, tree: str, *, commit: str, lane: e.Lane) -> Run:
    """Return a run with a value in every field."""
    name = f"{lane}-{type(outcome).__name__}"
    asked = e.RunRequested(
        run=name,
        lane=lane,
        proposal=tree,
        commit=commit,
        seed=-3,
        budget_s=1.5,
        deadline_s=9.0,
        worker_class="gpu",
        evaluator="e" * 64,
        version=7,
        avoid="bad",
        race=12,
        thresholds={"first": 0.25},
        instead_of="lost",
        not_by=("gpu7",),
        audit=e.Audit(run="r", worker="gpu8", value=1.5, tolerance=0.25),
    )
    finished = e.RunFinished(
        run=name,
        proposal=git_hash("another"),
        outcome=outcome,
        worker="w",
        worker_class="gpu",
        attempt=2,
        curve=(e.CurvePoint(1, 2.0, 3.0, 0.5),),
        trial_s=1.25,
        score_s=0.5,
        cpu_s=2.0,
        peak_memory_mb=3.0,
        peak_gpu_memory_mb=4.0,
        gpu_utilisation=0.5,
        evaluator="f" * 64,
        code="a" * 64,
        data="b" * 64,
        environment="env",
        tier="b",
        log_tail="log",
        cost=e.Cost(usd=1.0, tokens_in=2, tokens_out=3, seconds=4.0),
        budget_used_s=1.0,
        budget_counts="gpu",
        predict_s=0.125,
        items=e.ItemsKept(sha256="c" * 64, count=5, clusters=2, ids="d" * 64, margin=0.5),
        stages=(e.StageEnd(stage="first", value=1.0, trial_s=1.0, score_s=2.0),),
        own_seeds=3,
        built="built",
        packages="packages",
        judge=e.JudgeUse(calls=1, cached=2, tokens_in=3, tokens_out=4, usd=0.5),
        build_cache="cache",
    )
    compared = e.ItemsCompared(run=name, over="other", common=3, difference=0.5, error=0.25, dof=2.0, text="t")
    return Run(
        seq=5,
        requested=asked,
        attempts=3,
        worker="w",
        killed=True,
        finished=finished,
        critiques=(Critique("cid", "warn", "near", "text", None, 8),),
        begun=("v", "w"),
        finished_seq=6,
        finished_at=BEGAN,
        compared={"other": compared},
        withdrawn=True,
        rungs=((0.25, 1.0), (0.5, 2.0)),
        has_curve=True,
    )


def test_every_field_of_a_proposal_and_its_runs_is_in_the_pack() -> None:
    tree, commit = git_hash("t"), git_hash("c")
    metrics = {"loss": 0.5, "other": -1.0}
    failed: Any = {"value": 1.0, "violation": 0.5, "metrics": metrics, "self_reported": True}
    runs = {
        run.requested.run: run
        for run in (
            whole_run(e.Scored(value=0.5, metrics=metrics, self_reported=True), tree, commit=commit, lane="explore"),
            whole_run(e.Failed(reason="crash", message="x" * 1000), tree, commit=git_hash("d"), lane="confirm"),
            whole_run(e.Infeasible(message="i", **failed), tree, commit=commit, lane="control"),
            whole_run(e.ScreenedOut(message="s", stage="first", left=2, **failed), tree, commit=commit, lane="sealed"),
        )
    }
    event = e.ProposalPosted(
        tree=tree,
        commit=commit,
        parents=(git_hash("p"), git_hash("q")),
        title="title",
        rationale="reason",
        origin=e.Origin(how="sampler", name="mutate", share=0.25),
        predicted_gain=-0.5,
        confidence=0.75,
        knobs=tuple(e.KnobChange(file="f", name=f"K{n}", old=old, new=new) for n, (old, new) in enumerate(SCALARS)),
        cost=e.Cost(usd=1.0, tokens_in=2),
        as_of=3,
        call=e.KeptCall(sha256="a" * 64, prompt_bytes=1, answer_bytes=2),
    )
    promoted = e.ProposalPromoted(proposal=tree, round=1, met=git_hash("m"), mean=1.0, low=0.5, seeds=(1,), text="up")
    retired = e.ProposalRetired(
        proposal=tree, round=2, why="demoted", met=git_hash("m"), mean=2.0, seeds=(1, 2), p_better=0.5, text="down"
    )
    names = (*runs,)
    proposal = Proposal(
        seq=1,
        time=BEGAN,
        author="ann",
        event=event,
        critiques=(Critique("cid", "block", "rule", "text", 0.5, 2), Critique("dan", "endorse", "", "", None, 3)),
        runs=names[:3],
        verdict="retired",
        why="demoted",
        rulings=(promoted, retired),
        sealed=names[3:],
        ruled_out="changed it",
        ruled_since=3,
        back_seq=4,
        ended=4,
        is_lean=True,
    )
    critique = proposal.critiques[0]
    parts = (critique, event.origin, event.knobs[0])
    for thing in (proposal, event, *parts, *runs.values(), *(run.requested for run in runs.values())):
        missing = [name for name in thing.__struct_fields__ if getattr(thing, name) in (None, "", 0, ())]
        assert missing == []
    packer = Packer()
    pack = packer.pack(proposal, runs.values())
    for way in (packer, Packer(packer.common)):
        found = way.unpack(tree, pack)
        assert (found.proposal, [*found.runs.values()]) == without_texts(proposal, runs)
        assert [str(knob.new) for knob in found.proposal.event.knobs] == [str(new) for _, new in SCALARS]
        assert way.pack(found.proposal, found.runs.values()) == pack


SCALARS: tuple[tuple[Any, Any], ...] = ((1, 2), (1.0, 2.0), (True, False), ("a", "b"), (None, 3), (-(2**63), 2**63 - 1))


def test_what_changes_after_it_was_read_is_another_object_and_goes_back_into_its_pack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board = Board(arena="a")
    for entry in logged("a", retiring(1)):
        board.fold(entry)
    tree, *_ = pack(board)
    board.full.clear()
    turns, read = board.proposals.turns.get(tree, 0), board.proposals[tree]
    assert board.proposals[tree] is read
    taken = board.proposals.take_out(tree)
    assert taken is board.proposals[tree]
    assert board.proposals.turns[tree] == turns + 1
    assert board.proposals.take_out(tree) is taken
    assert board.proposals.changed == {tree: None}
    again = from_bytes(to_bytes(board))
    assert again
    assert again.proposals.changed == {tree: None}
    monkeypatch.setattr(kept, "FULL", 0)
    board.proposals.settle(tree, board.full)
    assert board.proposals.changed == {}
    assert tree in pack(board)
    assert board.proposals[tree] == taken


def test_a_snapshot_that_is_written_while_a_pack_is_taken_apart_has_one_state_of_it() -> None:
    board = Board(arena="a")
    for entry in logged("a", retiring(1)):
        board.fold(entry)
    packed = pack(board)
    tree = next(tree for tree in board.proposals if tree in packed and board.proposals[tree].runs)
    before = to_bytes(board)
    parts = to_parts(board)
    written = [next(parts)]
    board.proposals.take_out(tree)  # as a recall does
    again = from_parts([*written, *parts])
    assert again
    assert again == from_bytes(before)
    assert [type(again.runs.known[name]) for name in again.proposals[tree].runs] == [str] * len(
        board.proposals[tree].runs
    )
