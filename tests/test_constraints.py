"""Constraints: a candidate that violates one is infeasible, never promoted, and ranks by how much it violates."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.critic import Critic
from agents.curation.admission import decide
from agents.search.history import feasible_first
from agents.search.samplers.protocol import Trial, best_first
from gpu_worker.budget import TrialBudget
from gpu_worker.gpu_gauge import Reading
from gpu_worker.outcome import MAX_METRICS, score_outcome, trial_outcome
from mesh.arena import evaluator_hash, parse_arena
from mesh.constraints import parse_constraint
from mesh.errors import BadArena
from mesh.events import (
    CritiquePosted,
    Failed,
    Infeasible,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    RunFinished,
    Scored,
)
from mesh.leaderboard import leaderboard
from mesh.spec import unusable
from mesh.testing import FILES, SPEC, TRAIN, Arena, Log, git_hash
from tests.support.folding import folded, rows
from tests.test_outcome import SCORING, ending

LIMITED = replace(SPEC, objective=replace(SPEC.objective, constraints={"p95_ms": "<= 50"}, also=("acc",)))
SLOW = Infeasible(
    message="p95_ms is 60, but must be <= 50", value=1.0, violation=0.2, metrics={"loss": 1.0, "p95_ms": 60.0}
)


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("<= 50", 50, 0.0),
        ("<=50", 60, 0.2),
        (" < 50 ", 50, 1e-9),
        (">= -4", -5, 0.25),
        ("> 0", -0.5, 0.5),
        ("== 3", 3, 0.0),
        ("== 2", 3, 0.5),
        ("<= 1e-3", 2e-3, 1.0),
    ],
)
def test_a_violation_is_the_excess_as_a_share_of_the_bound(text: str, value: float, violation: float) -> None:
    assert parse_constraint("m", text).violation(value) == pytest.approx(violation)


@pytest.mark.parametrize("text", ["50", "=< 50", "<= fifty", "<= nan", "<= inf", "", "<= 1 2", "!= 3"])
def test_a_constraint_that_cannot_be_read_refuses_the_arena_in_one_sentence(text: str) -> None:
    sentence = f'm is {text!r}; use <=, <, >=, > or == and a number, such as "<= 50"'
    raw = {
        "arena": {"name": "a"},
        "objective": {"metric": "loss", "direction": "minimize", "constraints": {"m": text}},
        "artifact": {"editable": ["train.py"]},
        "trial": {"command": ["python", "train.py"], "budget_s": 1, "deadline_s": 2},
        "score": {"how": "command", "command": ["python", "score.py"]},
    }
    with pytest.raises(BadArena) as refused:
        parse_arena(raw, "arena.toml")
    assert str(refused.value) == f"arena.toml: objective.constraints: {sentence}"
    bad = replace(SPEC, objective=replace(SPEC.objective, constraints={"m": text}))
    assert unusable(bad) == f"objective.constraints: {sentence}"


def test_a_printed_score_has_the_other_numbers_of_its_output_to_limit_and_to_show() -> None:
    raw = {
        "arena": {"name": "a"},
        "objective": {"metric": "loss", "direction": "minimize", "constraints": {"Checksum": "== 8123"}},
        "artifact": {"editable": ["train.py"]},
        "trial": {"command": ["python", "train.py"], "budget_s": 1, "deadline_s": 2},
        "score": {"how": "stdout", "pattern": "loss=(.*)"},
    }
    spec, budget = parse_arena(raw, "arena.toml"), TrialBudget("cpu", 1.0, 0.0)

    def printed(out: str) -> Scored | Failed | None:
        end = ending(rc=0, out=out)
        return trial_outcome(spec, end, SCORING, Reading(), 0, killed=False, budget=budget, used_s=0.1)

    found = printed("rows: 4\nchecksum: 8,123\nloss=0.5\n")
    assert found == Scored(value=0.5, metrics={"loss": 0.5, "Checksum": 8123, "rows": 4}, self_reported=True)
    cheat = printed("checksum: 2011\nloss=0.1\n")
    assert isinstance(cheat, Infeasible)
    assert cheat.message == "Checksum is 2011, but must be == 8123"
    assert printed("loss=0.1\n") == Failed(
        reason="no_score", message="Checksum is missing, but objective.constraints limits it"
    )


def scored(line: str) -> Scored | Failed:
    return score_outcome(LIMITED, ending(rc=0, out=line), SCORING, Reading(), 0)


def test_the_worker_tells_a_score_from_an_infeasible_one_and_from_one_without_the_number() -> None:
    well = {"loss": 1.0, "p95_ms": 50.0}
    assert scored('{"loss": 1, "p95_ms": 50}') == Scored(value=1.0, metrics=well)
    assert scored('{"loss": 1, "p95_ms": 60}') == SLOW
    missing = "p95_ms is missing, but objective.constraints limits it"
    assert scored('{"loss": 1}') == Failed(reason="no_score", message=missing)
    many = ", ".join(f'"m{n}": {n}' for n in range(2 * MAX_METRICS))
    found = scored(f'{{{many}, "acc": 0.5, "p95_ms": 1, "loss": 1}}')
    assert isinstance(found, Scored)
    assert list(found.metrics)[:3] == ["loss", "p95_ms", "acc"]  # what is named is kept, whatever else is printed


def test_constraints_decide_a_score_and_what_is_shown_beside_it_does_not() -> None:
    shown = replace(SPEC, objective=replace(SPEC.objective, also=("acc",)))
    assert evaluator_hash(shown, FILES) == evaluator_hash(SPEC, FILES) != evaluator_hash(LIMITED, FILES)


def finish(log: Log, tree: str, outcome: Scored | Failed, seed: int = 1) -> None:
    run = log.request(tree, seed=seed)
    log.add("w", RunFinished(run=run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu"))


def test_an_infeasible_baseline_stops_nobody_and_the_best_feasible_proposal_is_champion() -> None:
    base, good, worse, bad = (git_hash(name) for name in ("base", "good", "worse", "bad"))
    log = Log(LIMITED)
    log.open(tree=base)
    for tree in (base, good, worse, bad):
        log.propose(tree, how="baseline" if tree == base else "sampler")
    finish(log, base, SLOW)
    finish(log, bad, replace(SLOW, value=0.1, violation=0.1))
    finish(log, worse, Scored(value=4.0, metrics={"loss": 4.0, "p95_ms": 9.0}))
    finish(log, good, Scored(value=3.0, metrics={"loss": 3.0, "p95_ms": 9.0, "acc": 0.75}))
    verdicts = decide(log.board, log.board.time)
    assert [v.proposal for v in verdicts if isinstance(v, ProposalPromoted)] == [good]
    assert {(v.proposal, v.why, v.text) for v in verdicts if isinstance(v, ProposalRetired)} == {
        (worse, "not_better", ""),
        (base, "failed", f"infeasible: {SLOW.message}"),
        (bad, "failed", f"infeasible: {SLOW.message}"),
    }
    for verdict in verdicts:
        log.add("cur", verdict)
    assert [(row.proposal, row.state, row.mean, row.violation, row.also) for row in leaderboard(log.board)] == [
        (good, "champion", 3.0, None, {"acc": 0.75}),
        (worse, "retired", 4.0, None, {}),
        (bad, "infeasible", 0.1, 0.1, {}),
        (base, "infeasible", 1.0, 0.2, {}),
    ]


@pytest.mark.parametrize("noise", ["none", "measured"])
def test_one_infeasible_seed_keeps_a_proposal_from_promotion(noise: str) -> None:
    base = git_hash("base")
    goal = replace(LIMITED.objective, noise="none" if noise == "none" else "measured")
    log = Log(replace(LIMITED, objective=goal))
    log.open(tree=base)
    log.propose(base, how="baseline")
    for seed in (1, 2, 3):
        finish(log, base, SLOW if seed == 2 else Scored(value=1.0, metrics={"loss": 1.0, "p95_ms": 1.0}), seed)
    [verdict] = decide(log.board, log.board.time)
    assert isinstance(verdict, ProposalRetired)
    assert verdict.text == f"infeasible: {SLOW.message}"


def test_samplers_see_every_infeasible_trial_behind_the_feasible_ones_by_its_violation() -> None:
    def trial(name: str, loss: float | None, violation: float = 0.0) -> Trial:
        return Trial(tree=name, seq=1, values={}, loss=loss, violation=violation)

    trials = [trial("far", None, 2.0), trial("b", 3.0), trial("near", None, 0.5), trial("a", 1.0), trial("crash", None)]
    found = feasible_first(trials)
    assert [t.tree for t in best_first(found)] == ["a", "b", "near", "far"]
    assert [t.loss for t in found] == [7.0, 3.0, 5.5, 1.0, None]
    alone = feasible_first([trial("far", None, 2.0), trial("near", None, 0.5)])
    assert [t.tree for t in best_first(alone)] == ["near", "far"]


async def test_sql_says_that_a_run_is_infeasible_and_by_how_much(tmp_path: Path) -> None:
    log = Log(LIMITED)
    base = git_hash("base")
    facts = [log.open(tree=base), log.propose(base, how="baseline")]
    run = log.request(base)
    requested = log.board.runs[run].requested
    done = RunFinished(run=run, proposal=base, outcome=SLOW, worker="w", worker_class="cpu")
    told = [*((post.author, post.event) for post in facts), ("cur", requested), ("w", done)]
    async with folded(tmp_path / "a.duckdb", told) as queries:
        sql = "SELECT state, reason, value, violation, message FROM runs"
        assert await rows(queries, sql) == [["infeasible", "infeasible", None, 0.2, SLOW.message]]
        assert await rows(queries, "SELECT state, mean, violation FROM leaderboard") == [["infeasible", 1.0, 0.2]]
        assert await rows(queries, "SELECT name, value FROM metrics") == [["loss", 1.0], ["p95_ms", 60.0]]


async def test_the_neighbours_of_what_violates_a_constraint_are_no_dead_end(tmp_path: Path) -> None:
    arena = Arena(tmp_path, spec=LIMITED)
    arena.propose_baseline()
    for width in (30, 31, 32, 33):
        made = arena.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", f"WIDTH = {width}".encode())})
        assert isinstance(made.event, ProposalPosted)
        finish(arena, made.event.tree, SLOW)
    near = arena.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = 29")})
    [word] = await Critic(arena.context("critic")).handle(near, arena.board)
    assert isinstance(word, CritiquePosted)
    assert word.verdict == "endorse"
