"""Stages of scoring: cheap ones end bad candidates of search, and what they end is no score and no crash."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.critic import Critic
from agents.curation.admission import decide
from agents.search.history import feasible_first
from agents.search.samplers.protocol import Trial, best_first
from analytics.report.queries import report_data
from analytics.report.sections.cost import cost
from gpu_worker.stages import steps_of
from mesh.arena import evaluator_hash, parse_arena
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
    ScreenedOut,
    StageEnd,
    WorkerJoined,
)
from mesh.leaderboard import leaderboard
from mesh.stages import StageSpec
from mesh.testing import FILES, SPEC, TRAIN, Arena, Log, git_hash
from mesh_cli.live.summary import screening
from mesh_cli.render.words import say
from mesh_cli.setup.check_arena import baseline_stages
from mesh_cli.setup.check_result import BaselineRun, Checked
from mesh_cli.setup.check_view import check_lines, check_problems
from tests.support.folding import folded, rows

SMOKE, DEV, FULL = (
    StageSpec(name="smoke", budget_s=0.5, metric="tests", at_least=3.0),
    StageSpec(name="dev", at_most=3.0, deadline_s=5.0),
    StageSpec(name="full"),
)
STAGED = replace(SPEC, score=replace(SPEC.score, stage=(SMOKE, DEV, FULL)))
AT_SMOKE = ScreenedOut(
    message="stopped at stage smoke: tests is 1, but must be at least 3",
    stage="smoke",
    value=1.0,
    violation=2 / 3,
    left=2,
)
AT_DEV = ScreenedOut(
    message="stopped at stage dev: loss is 4.2, but must be at most 3", stage="dev", value=4.2, violation=0.4, left=1
)


def raw(**score: Any) -> dict[str, Any]:
    return {
        "arena": {"name": "a"},
        "objective": {"metric": "loss", "direction": "minimize"},
        "artifact": {"editable": ["train.py"]},
        "trial": {"command": ["python", "train.py"], "budget_s": 4, "deadline_s": 20},
        "score": {"how": "command", "command": ["python", "score.py"], "deadline_s": 30, **score},
    }


GOOD: list[dict[str, Any]] = [
    {"name": "smoke", "budget_s": 1, "metric": "tests", "at_least": 3},
    {"name": "dev", "at_most": 3.0, "deadline_s": 5},
    {"name": "full"},
]


def changed(place: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**stage, **(fields if place == at else {})} for at, stage in enumerate(GOOD)]


def test_stages_of_an_arena_are_read_in_their_order() -> None:
    found = parse_arena(raw(stage=GOOD), "arena.toml").score.stage
    assert found == (replace(SMOKE, budget_s=1.0), DEV, FULL)


@pytest.mark.parametrize(
    ("stages", "sentence"),
    [
        (changed(0, at_mots=1), "unknown key 'at_mots' in [[score.stage]], stage 'smoke'; use name, command"),
        ([{"at_most": 1.0}, {"name": "full"}], "[[score.stage]], stage 1: name is missing: name it as the score"),
        ({"name": "smoke"}, "score.stage must be a list of tables: write name, command, … under [[score.stage]]"),
        (changed(1, name="smoke"), "score.stage: two stages have the name 'smoke': rename one"),
        (changed(2, at_most=2.0), "score.stage 'full' is the last one, which gives the score: take its threshold out"),
        (GOOD[2:], "score.stage 'full' is the only one: add a cheaper one before it, or leave stages out"),
        (changed(1, at_most=None, at_least=3.0), "score.stage 'dev': at_least would end the better candidates, since"),
        (changed(1, at_least=3.0), "score.stage 'dev': it has at_most and at_least: leave one out"),
        (changed(1, deadline_s=31), "score.stage 'dev': deadline_s is 31; use at most score.deadline_s (30)"),
        (changed(0, budget_s=4), "score.stage 'smoke': budget_s is 4; use less than trial.budget_s (4), or leave it"),
        (changed(1, budget_s=1), "score.stage 'dev': budget_s is 1, but the trial of the stage before it is not short"),
        ([GOOD[1], *GOOD[::2]], "score.stage 'smoke': budget_s is 1, but the trial of the stage before it is not"),
        (changed(2, budget_s=2), "score.stage 'full': budget_s must be left out of the last stage: it scores the full"),
        (changed(0, at_least=None), "score.stage 'smoke': metric is 'tests', but there is no threshold for it: add"),
        (changed(0, name="a b"), "score.stage 'a b': name must be 1 to 64 letters, digits, _ or -"),
        (changed(0, command=["python", "train.py"]), "score.stage 'smoke': command runs 'train.py', which proposals"),
    ],
)
def test_stages_that_cannot_be_used_refuse_the_arena_in_one_sentence(stages: Any, sentence: str) -> None:
    with pytest.raises(BadArena, match=rf"^arena\.toml: {re.escape(sentence)}[^\n]*$"):
        parse_arena(raw(stage=stages), "arena.toml")


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        ({"how": "stdout", "pattern": "(.*)"}, "score.stage 'smoke': metric must be left out: with score.how"),
        ({"how": "stdout", "pattern": "(.*)", "stage": [{"name": "x"}, FULL_RAW := {"name": "full"}]},
         "score.stage 'x': budget_s is missing: with score.how = \"stdout\" each stage is a trial, shorter"),
        ({"how": "openevolve", "command": ["python", "e.py"]},
         'score.stage needs score.how = "command" or "stdout", but score.how is "openevolve": write its thresholds as'),
    ],
)  # fmt: skip
def test_stages_need_a_score_that_has_them(score: dict[str, Any], sentence: str) -> None:
    whole = raw(**{"stage": GOOD, **score})
    if score["how"] == "openevolve":
        del whole["trial"]["command"]
    with pytest.raises(BadArena, match=rf"^arena\.toml: {re.escape(sentence)}"):
        parse_arena(whole, "arena.toml")
    assert GOOD[2] == FULL_RAW


def test_stages_are_part_of_the_evaluator_and_a_field_that_comes_later_is_not() -> None:
    assert evaluator_hash(STAGED, FILES) != evaluator_hash(SPEC, FILES)
    stricter = replace(STAGED, score=replace(STAGED.score, stage=(SMOKE, replace(DEV, at_most=2.0), FULL)))
    assert evaluator_hash(stricter, FILES) != evaluator_hash(STAGED, FILES)
    stated = replace(STAGED, score=replace(STAGED.score, stage=(SMOKE, replace(DEV, proof=False), FULL)))
    assert evaluator_hash(stated, FILES) == evaluator_hash(STAGED, FILES)


@pytest.mark.parametrize(
    ("lane", "proof", "names"),
    [
        ("explore", False, ["smoke", "dev", "full"]),
        ("audit", False, ["smoke", "dev", "full"]),
        ("confirm", False, ["full"]),
        ("control", True, ["smoke", "full"]),
        ("sealed", False, ["full"]),
    ],
)
def test_proof_runs_the_last_stage_alone_and_those_that_ask_for_it(lane: Any, proof: bool, names: list[str]) -> None:
    log = Log(STAGED)
    base, other = git_hash("base"), git_hash("other")
    log.open(tree=base)
    log.propose(other)
    asked = replace(log.board.runs[log.request(other)].requested, lane=lane)
    spec = replace(STAGED, score=replace(STAGED.score, stage=(replace(SMOKE, proof=proof), DEV, FULL)))
    steps = steps_of(spec, asked, base)
    assert [step.name for step in steps] == names
    assert sum(step.has_trial and not step.budget_s for step in steps) == 1  # the full trial runs once
    assert all(step.stage for step in steps)
    assert not any(step.stage for step in steps_of(spec, replace(asked, proposal=base), base))


def finish(log: Log, tree: str, outcome: Scored | Failed, seed: int = 1, lane: Any = "explore") -> None:
    run = log.request(tree, lane=lane, seed=seed)
    log.add("w", RunFinished(run=run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu"))


def test_what_a_stage_ended_is_retired_without_a_crash_and_ranks_below_all_that_passed() -> None:
    base, good, slow, near, far, early = (git_hash(name) for name in ("base", "good", "slow", "near", "far", "early"))
    log = Log(STAGED)
    log.open(tree=base)
    for tree in (base, good, slow, near, far, early):
        log.propose(tree, how="baseline" if tree == base else "sampler")
    finish(log, base, Scored(value=2.0, metrics={"loss": 2.0}))
    finish(log, early, AT_SMOKE)
    finish(log, far, replace(AT_DEV, value=9.0, violation=2.0))
    finish(log, near, AT_DEV)
    finish(log, slow, Infeasible(message="p95", value=0.5, violation=3.0))
    finish(log, good, Scored(value=5.0, metrics={"loss": 5.0}))
    verdicts = [v for v in decide(log.board, log.board.time) if isinstance(v, ProposalRetired)]
    found = {v.proposal: (v.why, v.text) for v in verdicts}
    assert found[near] == ("not_better", AT_DEV.message)
    assert found[early] == ("not_better", AT_SMOKE.message)
    for verdict in verdicts:
        log.add("cur", verdict)
    shown = [(row.proposal, row.state, row.stage, row.stages_left) for row in leaderboard(log.board)]
    assert shown[-4:] == [
        (slow, "infeasible", None, None),
        (near, "screened_out", "dev", 1),
        (far, "screened_out", "dev", 1),
        (early, "screened_out", "smoke", 2),
    ]


@pytest.mark.parametrize("noise", ["none", "measured"])
def test_a_stage_that_ends_a_fresh_run_counts_against_the_claim(noise: Any) -> None:
    base, claim = git_hash("base"), git_hash("claim")
    log = Log(replace(STAGED, objective=replace(STAGED.objective, noise=noise)))
    log.open(tree=base)
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=8))
    log.propose(base, how="baseline")
    for seed in (1, 2, 3):
        finish(log, base, Scored(value=2.0 + seed / 100), seed, "control" if seed > 1 else "explore")
    for verdict in decide(log.board, log.board.time):
        log.add("cur", verdict)
    assert log.board.champion == base
    log.propose(claim)
    finish(log, claim, Scored(value=0.5))
    finish(log, claim, AT_SMOKE, 1001, "confirm")
    finish(log, claim, Scored(value=0.1), 1002, "confirm")
    verdicts = decide(log.board, log.board.time)
    assert not any(isinstance(v, ProposalPromoted) for v in verdicts)
    assert [v.why for v in verdicts if isinstance(v, ProposalRetired) and v.proposal == claim] in (
        ["failed"],
        ["not_better"],
    )


def test_samplers_see_what_a_stage_ended_behind_the_rest_the_later_stage_first() -> None:
    def trial(name: str, loss: float | None, violation: float = 0.0, missed: int = 0) -> Trial:
        return Trial(tree=name, seq=1, values={}, loss=loss, violation=violation, stages_missed=missed)

    trials = [
        trial("smoke", None, 0.1, 3), trial("dev", None, 0.4, 2), trial("b", 3.0), trial("near", None, 0.2, 2),
        trial("slow", None, 9.0), trial("a", 1.0), trial("crash", None),
    ]  # fmt: skip
    found = feasible_first(trials)
    assert [t.tree for t in best_first(found)] == ["a", "b", "slow", "near", "dev", "smoke"]
    assert [t.loss for t in found] == [11.0, 9.0, 3.0, 8.0, 7.0, 1.0, None]


async def test_the_neighbours_of_what_a_stage_ended_are_no_dead_end(tmp_path: Path) -> None:
    arena = Arena(tmp_path, spec=STAGED)
    arena.propose_baseline()
    for width in (30, 31, 32, 33):
        made = arena.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", f"WIDTH = {width}".encode())})
        assert isinstance(made.event, ProposalPosted)
        finish(arena, made.event.tree, AT_DEV)
    near = arena.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = 29")})
    [word] = await Critic(arena.context("critic")).handle(near, arena.board)
    assert isinstance(word, CritiquePosted)
    assert word.verdict == "endorse"


async def test_sql_says_which_stage_ended_a_run_and_what_that_saved(tmp_path: Path) -> None:
    log = Log(STAGED)
    trees = [git_hash(name) for name in ("base", "bad")]
    facts = [(post.author, post.event) for post in (log.open(tree=trees[0]), *map(log.propose, trees))]
    ends = [
        StageEnd(stage="smoke", value=3.0, trial_s=1.0, score_s=0.5),
        StageEnd(stage="dev", value=2.0, trial_s=6.0, score_s=0.5),
        StageEnd(stage="full", value=2.5, score_s=2.0),
    ]
    short = (StageEnd(stage="smoke", value=1.0, trial_s=1.0, score_s=0.5),)
    for tree, outcome, stages in ((trees[0], Scored(value=2.5), tuple(ends)), (trees[1], AT_SMOKE, short)):
        run = log.request(tree)
        done = RunFinished(run=run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu", stages=stages)
        done = replace(done, trial_s=sum(e.trial_s for e in stages), score_s=sum(e.score_s for e in stages))
        facts += [("cur", log.board.runs[run].requested), ("w", done)]
    async with folded(tmp_path / "a.duckdb", facts) as queries:
        sql = "SELECT state, reason, value, violation, stage, message FROM runs WHERE state <> 'scored'"
        assert await rows(queries, sql) == [["screened_out", "screened_out", None, 2 / 3, "smoke", AT_SMOKE.message]]
        assert await rows(queries, "SELECT stage, place, state, value FROM stages") == [
            ["smoke", 1, "passed", 3.0],
            ["dev", 2, "passed", 2.0],
            ["full", 3, "scored", 2.5],
            ["smoke", 1, "screened_out", 1.0],
        ]
        assert await rows(queries, "SELECT stage, reached, screened_out, saved_s FROM screening") == [
            ["smoke", 2, 1, 8.5],
            ["dev", 1, 0, 0.0],
            ["full", 1, 0, 0.0],
        ]
        blocks = cost(await report_data(partial(rows, queries), "a")).blocks
    [table] = [block for block in blocks if "screened out" in str(block)]
    assert all(word in str(table) for word in ("smoke", "8.5 seconds"))
    end = AT_SMOKE.message.removeprefix("stopped at ")
    for event in (facts[-3][1], facts[-1][1]):  # the board has the requests already
        log.add("w", event)
    assert screening(log.board) == (
        "stages screened out 1 of 2 candidates (smoke 1), which saved about 8.5 seconds of worker time"
    )
    assert end in say(facts[-1][1])


def test_a_check_shows_the_baseline_in_every_stage_and_says_where_it_misses_a_threshold() -> None:
    def ran(seed: int, tests: float, dev: float) -> BaselineRun:
        ends = (
            StageEnd(stage="smoke", value=tests, trial_s=0.5, score_s=0.5),
            StageEnd(stage="dev", value=dev, trial_s=2.0),
            StageEnd(stage="full", value=2.0, score_s=4.0),
        )
        return BaselineRun(seed, Scored(value=2.0), 2.5, 4.5, ends)

    runs = (ran(1, 3.0, 2.5), ran(2, 3.0, 3.5))
    checked = Checked("a", "loss", runs, (), baseline_stages(STAGED, runs))
    assert [line for line in check_lines(checked) if line.startswith(("  smoke", "  dev", "  full"))] == [
        "  smoke       tests 3, 3, must be at least 3; 1.0 s",
        "  dev         loss 2.5, 3.5, must be at most 3; 2.0 s",
        "  full        loss 2, 2; 4.0 s",
    ]
    assert check_problems(checked) == [
        "the baseline misses the threshold of stage dev on 1 of 2 seeds: loss must be at most 3; no threshold ends the "
        "baseline, but candidates like it"
    ]
