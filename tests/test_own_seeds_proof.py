"""A gain that only the program's own lucky seed has is not promoted: proof runs have other seeds in its place."""

import random
from pathlib import Path

import msgspec
import pytest

from mesh.events import ProposalRetired, RunFinished, RunRequested, Scored, WorkerJoined
from mesh.memory import MemoryHub
from mesh.testing import Log
from tests.test_item_runs import SCORE
from tests.test_race import BASE, GOOD, NOISY, asked, due, verdicts
from tests.test_worker import SPEC, Arena

PROGRAM = (
    "import random\nrandom.seed(42)\n(out / 'score.json').write_text(json.dumps({'loss': random.random(), 'n': %d}))"
)


@pytest.mark.parametrize("own_seeds", ["vary", "keep"])
async def test_proof_runs_have_other_seeds_than_the_program_gives_itself(tmp_path: Path, own_seeds: str) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(
        msgspec.structs.replace(
            SPEC,
            objective=msgspec.structs.replace(SPEC.objective, constraints={}),
            trial=msgspec.structs.replace(SPEC.trial, own_seeds=own_seeds),
        ),
        score=SCORE,
    )
    async with arena.worker():
        for run, lane, number in (("r0", "explore", 1), ("r1", "confirm", 1), ("r2", "control", 2)):
            await arena.request(PROGRAM % number, run, lane=lane)
        ended = [await arena.finished(run) for run in ("r0", "r1", "r2")]
    found = [end.outcome.value if isinstance(end.outcome, Scored) else end.outcome for end in ended]
    own = random.Random(42).random()
    assert found[0] == own
    assert found[1] == found[2]  # the seed of a run is the same for both
    assert (found[1] == own) is (own_seeds == "keep")
    assert [end.own_seeds for end in ended] == ([0, 0, 0] if own_seeds == "keep" else [0, 1, 1])
    assert ended[0].code == ended[1].code != ended[2].code  # the code of the proposal, not of the copy that ran


def finish(log: Log, run: str, value: float, own_seeds: int) -> None:
    tree = log.board.runs[run].requested.proposal
    outcome = Scored(value=value)
    end = RunFinished(
        run=run, proposal=tree, outcome=outcome, worker="w", worker_class="cpu", own_seeds=own_seeds, trial_s=1.0
    )
    log.add("w", end)


def play(log: Log, results: dict[str, list[float]], own_seeds: int) -> list[ProposalRetired]:
    """Take in what is due until nothing is; explore runs have the program's own seed."""
    found: list[ProposalRetired] = []
    for _ in range(60):
        events = due(log)
        found += [event for event in events if isinstance(event, ProposalRetired)]
        for event in events:
            log.add("curator", event)
        for event in events:
            if isinstance(event, RunRequested):
                value = results[event.proposal].pop(0)
                finish(log, event.run, value, 0 if event.lane == "explore" else own_seeds)
        if not events:
            break
    return found


def begun(own_seeds: int) -> Log:
    log = Log(NOISY)
    log.open()
    log.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=20))
    log.propose(BASE, how="baseline")
    play(log, {BASE: [10.0, 8.0, 8.4]}, own_seeds)
    assert log.board.champion == BASE
    log.propose(GOOD)
    finish(log, log.request(GOOD), 9.5, 0)
    return log


def test_a_claim_with_the_programs_own_seed_meets_the_champions_claim_with_it() -> None:
    [verdict] = verdicts(begun(0))
    assert isinstance(verdict, ProposalRetired)
    assert verdict.text == "its score is not better than the champion's"
    log = begun(1)
    assert verdicts(log) == []
    assert {tree for tree, lane, _ in asked(log) if lane == "confirm"} == {GOOD}


def test_a_gain_of_the_lucky_seed_is_retired_and_said_as_such() -> None:
    log = begun(1)
    fresh = [8.1, 8.3, 7.9, 8.5, 8.0, 8.4, 8.2, 8.3]
    [verdict] = play(log, {GOOD: [score + 0.1 for score in fresh], BASE: fresh}, 1)
    assert (verdict.proposal, verdict.why) == (GOOD, "not_better")
    assert verdict.text.endswith("the program seeds itself: its claim has its own seed, and the fresh runs have others")
    assert log.board.champion == BASE
