"""Before a claim is confirmed, changes that do not matter go back to the champion's values."""

import datetime as dt
import re
from pathlib import Path

import msgspec
import pytest

from agents.curation.admission import decide
from agents.explorer import Explorer
from agents.search.samplers.protocol import Values
from agents.search.structure.needless import MOST_GROUPS, PUT_BACK, changed_groups, next_put_backs
from mesh.code import Commit
from mesh.events import (
    AgentJoined,
    KnobChange,
    Origin,
    ProposalPosted,
    ProposalRetired,
    RunFinished,
    RunRequested,
    Scored,
    WorkerJoined,
)
from mesh.knobs import find_knobs, literal_values
from mesh.spec import ObjectiveSpec
from mesh.testing import SPEC, Arena

PROGRAM = """def run():
    return improve(4.0, 0.3, 0.7, [16, 16])
"""
EXACT = msgspec.structs.replace(SPEC, objective=ObjectiveSpec(metric="loss", direction="minimize"))
CLAIM = PROGRAM.replace("4.0, 0.3, 0.7", "8.0, 9.5, 55.0")


def loss_of(source: str, noise: float = 0.0) -> float:
    """Only the first number matters."""
    first = re.search(r"improve\(([\d.]+)", source)
    assert first
    return (float(first[1]) - 12) ** 2 + noise


class Search(Arena):
    """An arena whose explorer and curator work, and whose runs end at once."""

    async def begin(self, noise: float = 0.0) -> None:
        self.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=8))
        self.add("ann", AgentJoined(boot="a", role="explorer"))
        self.runs_of: dict[str, int] = {}
        self.noise = noise
        who = self.who = Explorer(self.context("ann"))
        [baseline] = await self.when(who, self.opening)
        self.add("ann", baseline)
        await self.settle()
        assert self.board.champion == self.base

    async def settle(self, after_s: float = 0.1) -> list[ProposalRetired]:
        """Let the curator decide, and end the runs that it asks for, until nothing is due."""
        found: list[ProposalRetired] = []
        for _ in range(40):
            events = decide(self.board, self.board.time + dt.timedelta(seconds=after_s))
            found += [event for event in events if isinstance(event, ProposalRetired)]
            for event in events:
                self.add("curator", event, after_s=0.01)
            for event in events:
                if isinstance(event, RunRequested):
                    await self.end(event)
            if not events:
                return found
        raise AssertionError("something is always due")

    async def end(self, asked: RunRequested) -> None:
        files = await self.code.files(asked.commit)
        self.noise = -self.noise * 1.1
        value = loss_of(files["train.py"].decode(), self.noise)
        self.runs_of[asked.lane] = self.runs_of.get(asked.lane, 0) + 1
        end = RunFinished(
            run=asked.run, proposal=asked.proposal, outcome=Scored(value=value), worker="w", worker_class="cpu"
        )
        self.add("w", end, after_s=0.01)

    async def claim(self, source: str, name: str = "walk") -> str:
        at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
        files = {**await self.code.files(self.base_commit), "train.py": source.encode()}
        made: Commit = self.code.commit(files, parents=[self.base_commit], message="claim", author="bob", at=at)
        old, new = literal_values("train.py", PROGRAM.encode()), literal_values("train.py", source.encode())
        changes = [KnobChange(file="train.py", name=n, old=old[n], new=new[n]) for n in old if old[n] != new[n]]
        event = ProposalPosted(
            tree=made.tree,
            commit=made.commit,
            parents=(self.base,),
            title="claim",
            origin=Origin(how="sampler", name=name),
            knobs=tuple(changes),
        )
        self.add("bob", event)
        return made.tree

    async def put_backs(self) -> list[ProposalPosted]:
        """Let the explorer work, and take in what puts back changes."""
        made = [each for each in await self.when(self.who, self.opening) if isinstance(each, ProposalPosted)]
        found = [each for each in made if each.origin.name == PUT_BACK]
        for each in found:
            self.add("ann", each, after_s=0.1)
        return found


@pytest.fixture
async def search(tmp_path: Path) -> Search:
    found = Search(tmp_path, files={"train.py": PROGRAM.encode(), "score.py": b"print(1)\n"}, spec=EXACT)
    await found.begin()
    return found


def lines(posted: list[ProposalPosted]) -> list[dict[str, object]]:
    return [{change.name: change.new for change in each.knobs} for each in posted]


async def test_needless_changes_are_put_back_one_by_one_and_together_before_the_claim_races(search: Search) -> None:
    claim = await search.claim(CLAIM)
    assert await search.settle() == []
    assert "confirm" not in search.runs_of  # the claim waits
    first = await search.put_backs()
    assert lines(first) == [{"run.improve": 4.0}, {"run.improve#2": 0.3}, {"run.improve#3": 0.7}]
    assert await search.put_backs() == []
    await search.settle()
    [both] = await search.put_backs()
    assert lines([both]) == [{"run.improve#2": 0.3, "run.improve#3": 0.7}]
    assert await search.settle() == []
    assert search.board.champion == search.base
    retired = await search.settle(after_s=4)
    assert {each.proposal for each in retired} >= {claim, first[1].tree, first[2].tree}
    [why] = [each.text for each in retired if each.proposal == claim]
    assert why == f"as good as {both.tree[:10]}, which puts back 2 needless changes"
    assert search.board.champion == both.tree  # it was proven as any other
    files = await search.code.files(both.commit)
    assert files["train.py"].decode() == PROGRAM.replace("4.0", "8.0")
    assert search.runs_of["confirm"] >= 1


async def test_a_claim_whose_changes_all_matter_races_after_a_moment(search: Search) -> None:
    claim = await search.claim(PROGRAM.replace("4.0", "8.0"))
    await search.settle()
    assert search.board.champion == claim  # one change: nothing to put back
    assert await search.put_backs() == []


async def test_the_changes_of_a_claim_are_put_back_where_one_run_proved_the_champion(search: Search) -> None:
    first = await search.claim(PROGRAM.replace("4.0", "8.0"))
    await search.settle()
    assert search.board.champion == first
    assert len(search.board.scores(first)) == 2  # its claim, and the one run that proved it: there is no noise
    await search.claim(CLAIM.replace("8.0", "11.0"))
    await search.settle()
    assert search.board.champion == first
    assert lines(await search.put_backs()) == [
        {"run.improve": 8.0},
        {"run.improve#2": 0.3},
        {"run.improve#3": 0.7},
    ]


async def test_without_an_explorers_answer_a_claim_races_after_a_moment(search: Search) -> None:
    claim = await search.claim(CLAIM)
    await search.settle()
    assert search.board.champion == search.base
    await search.settle(after_s=4)
    assert search.board.champion == claim


async def test_the_change_of_a_person_or_a_model_does_not_wait(search: Search) -> None:
    claim = await search.claim(CLAIM)
    event = search.board.proposals[claim].event
    search.board.proposals[claim].event = msgspec.structs.replace(event, origin=Origin(how="model", name="m"))
    await search.settle()
    assert search.board.champion == claim


async def test_in_noise_one_score_says_too_little_so_nothing_waits(tmp_path: Path) -> None:
    noisy = Search(tmp_path, files={"train.py": PROGRAM.encode(), "score.py": b"print(1)\n"}, spec=EXACT)
    await noisy.begin(noise=0.5)
    await noisy.claim(CLAIM)
    await noisy.settle()
    assert noisy.runs_of["confirm"] > 0
    assert await noisy.put_backs() == []


def test_equal_literals_go_back_together_and_many_changes_in_few_groups() -> None:
    source = "def run():\n    for i in range(16):\n        x = f(i / 16, 0.25)\n    return x\n"
    other = source.replace("16", "17").replace("0.25", "0.5")
    knobs = find_knobs("t.py", other)
    before, after = (
        {("t.py", name): value for name, value in literal_values("t.py", text.encode()).items()}
        for text in (source, other)
    )
    groups = changed_groups(before, after, knobs)
    assert sorted(sorted(map(str, group.values())) for group in groups) == [["0.25"], ["16", "16"]]
    many = "def run():\n    return f(" + ", ".join(f"{n}.5" for n in range(40)) + ")\n"
    moved = many.replace(".5", ".75")
    before, after = (
        {("t.py", name): value for name, value in literal_values("t.py", text.encode()).items()}
        for text in (many, moved)
    )
    groups = changed_groups(before, after, find_knobs("t.py", moved))
    assert 1 < len(groups) <= MOST_GROUPS
    assert sum(map(len, groups)) == 40


def test_what_is_needless_alone_goes_back_together_once() -> None:
    a: Values = {("t.py", "a"): 1.0}
    b: Values = {("t.py", "b"): 2.0}
    c: Values = {("t.py", "c"): 3.0}
    key = [frozenset(each) for each in (a, b, c)]
    assert next_put_backs([a], {}) == []
    assert next_put_backs([a, b, c], {}) == [a, b, c]
    assert next_put_backs([a, b, c], {key[0]: None}) == [b, c]
    assert next_put_backs([a, b, c], {key[0]: False, key[1]: True, key[2]: None}) == []
    assert next_put_backs([a, b, c], {key[0]: False, key[1]: True, key[2]: True}) == [b | c]
    assert next_put_backs([a, b, c], {key[0]: False, key[1]: True, key[2]: False}) == []
    made = {key[0]: False, key[1]: True, key[2]: True, frozenset(b | c): False}
    assert next_put_backs([a, b, c], made) == []
