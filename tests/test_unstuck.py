"""However workers come and go, runs fail and evaluators change: all is decided in the end, nothing in vain."""

import random

import pytest
from msgspec.structs import replace

from agents.curation import proof_share
from mesh.events import ProposalRetired, RunRequested, WorkerJoined, WorkerLeft
from mesh.testing import Log, content_hash, git_hash, opened
from tests.test_race import NOISY, due

OFFSET = {"cpu": 0.0, "gpu": 5.0}
"""What a class of workers adds to every score."""
TURNS = 60


class World:
    """An arena with CPU and GPU workers that come and go; some proposals fail on one of them."""

    def __init__(self, seed: int, worker_class: str) -> None:
        self.rng = random.Random(f"{seed} {worker_class}")
        self.log = Log(replace(NOISY, worker=replace(NOISY.worker, class_=worker_class)))
        self.log.open()
        self.here: dict[str, str] = {}
        self.fails_on: dict[str, str] = {}
        self.version, self._boots = 1, 0
        for its in {"cpu", worker_class} - {"any"}:
            self.comes_or_goes(its)
        self.log.propose(git_hash("base"), how="baseline")

    def comes_or_goes(self, worker_class: str) -> None:
        if boot := self.here.pop(worker_class, ""):
            self.log.add(worker_class, WorkerLeft(boot=boot))
            return
        self._boots += 1
        self.here[worker_class] = boot = f"{worker_class}-{self._boots}"
        slots = self.rng.choice([2, 20])
        self.log.add(worker_class, WorkerJoined(boot=boot, worker_class=worker_class, device=worker_class, slots=slots))

    def turn(self, *, rough: bool) -> bool:
        """Take in what is due, finish some runs or all, and tell whether anything happened."""
        events = due(self.log)
        for event in events:
            if isinstance(event, RunRequested):
                assert event.run not in self.log.board.runs, "what was asked for is asked for again"
            elif isinstance(event, ProposalRetired) and event.why != "demoted":
                assert event.proposal in self.log.board.undecided, "who is decided is given up again"
            self.log.add("curator", event)
        out = list(self.log.board.unfinished)
        self.rng.shuffle(out)
        done = [self._finish(name, rough=rough) for name in out[: self.rng.randint(0, len(out)) if rough else None]]
        return bool(events) or any(done)

    def _finish(self, name: str, *, rough: bool) -> bool:
        asked = self.log.board.runs[name].requested
        able = [its for its in self.here if asked.worker_class in ("any", its)]
        if not able:
            return False
        its = self.rng.choice(able)
        if rough and self.rng.random() < 0.06:
            self.log.finish(name, self.rng.choice(["lost", "killed", "crash"]), worker_class=its)
        elif self.fails_on.get(asked.proposal) == its:
            self.log.finish(name, "out_of_memory", worker_class=its)
        else:
            gain = 0.4 * (len(asked.proposal) % 7)
            self.log.finish(name, self.rng.gauss(10 + OFFSET[its] - gain, 1), worker_class=its)
        return True

    def rough_times(self) -> None:
        for number in range(TURNS):
            self.turn(rough=True)
            if number < 2 * TURNS / 3:
                tree = git_hash(f"p{number}")
                self.fails_on[tree] = self.rng.choice(["cpu", "gpu", "", "", "", ""])
                self.log.propose(tree, f"author-{number % 5}")
            if self.rng.random() < 0.15:
                self.comes_or_goes(self.rng.choice(["cpu", "gpu"]))
            if self.rng.random() < 0.015:
                self.version += 1
                again = opened(self.log.spec)
                self.log.add(
                    "operator", replace(again, evaluator=content_hash(f"e{self.version}"), version=self.version)
                )


@pytest.mark.parametrize("worker_class", ["any", "gpu"])
def test_whatever_happens_everybody_is_decided_in_the_end(worker_class: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_share, "ALLOWANCE", 10**6)  # races wait for no more search, as there is none
    for seed in range(40):
        world = World(seed, worker_class)
        world.rough_times()
        if "gpu" not in world.here and (worker_class == "gpu" or not world.here or world.rng.random() < 0.5):
            world.comes_or_goes("gpu")
        for _ in range(300):
            if not world.turn(rough=False):
                break
        assert not world.log.board.undecided, f"in world {seed}"
