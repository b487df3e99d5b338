"""The explorer proposes real edits, each once, and learns from what was scored."""

import random
from collections.abc import Sequence
from pathlib import Path

import pygit2
import pytest

from agents.explorer import Explorer, apply, fitting
from agents.search.samplers import portfolio
from agents.search.samplers.mutate import ELITE
from agents.search.samplers.portfolio import LEARNING, RATIONALE
from agents.search.titles import title_of
from agents.search.turns import UNDECIDED
from mesh.errors import AlreadyPosted, BadInput
from mesh.events import (
    AgentJoined,
    AgentLeft,
    AnyEvent,
    ArenaClosed,
    KnobChange,
    NotePosted,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    ProposalRetired,
    WorkerJoined,
)
from mesh.knobs import Knob, are_near, find_knobs, knobs_of
from mesh.memory import MemoryBus
from mesh.testing import FILES, TRAIN, VALUES, Arena
from mesh.wire import Post

SAMPLERS = list(portfolio.SAMPLERS)


def explorer(arena: Arena, name: str = "ann", index: int = 0, **options: str) -> Explorer:
    return Explorer(arena.context(name, options, index=index))


def proposals(events: Sequence[AnyEvent]) -> list[ProposalPosted]:
    found = [event for event in events if isinstance(event, ProposalPosted)]
    assert len(found) == len(events)
    return found


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    """An open arena."""
    return Arena(tmp_path)


@pytest.fixture
def begun(arena: Arena) -> Arena:
    """An arena whose baseline has a score."""
    arena.add("eve", baseline(arena))
    arena.score(arena.base, 10.0)
    return arena


def baseline(arena: Arena) -> ProposalPosted:
    origin = Origin(how="baseline")
    return ProposalPosted(tree=arena.base, commit=arena.base_commit, title="as it is", origin=origin, values=VALUES)


async def live(arena: Arena, who: Explorer, rounds: int, name: str = "ann") -> list[ProposalPosted]:
    """Let an explorer work while everything it proposes is scored and retired."""
    made: list[ProposalPosted] = []
    post, rng = arena.opening, random.Random(1)
    for _ in range(rounds):
        for proposal in proposals(await arena.when(who, post)):
            made.append(proposal)
            arena.add(name, proposal)
            arena.score(proposal.tree, rng.random())
            retired = ProposalRetired(proposal=proposal.tree, round=0, why="not_better")
            post = arena.add("curator", retired)
    return made


@pytest.mark.parametrize("sampler", SAMPLERS)
async def test_the_artifact_as_it_is_comes_first(arena: Arena, sampler: str) -> None:
    assert await arena.when(explorer(arena, sampler=sampler), arena.opening) == [baseline(arena)]


async def test_nothing_is_proposed_to_an_arena_that_is_closed(begun: Arena) -> None:
    post = begun.add("operator", ArenaClosed(version=1, reason="operator"))
    assert await begun.when(explorer(begun), post) == []


@pytest.mark.parametrize("sampler", SAMPLERS)
async def test_a_proposal_is_a_real_commit_of_a_real_edit(begun: Arena, sampler: str) -> None:
    post = begun.score(begun.base, 9.0)
    made = proposals(await begun.when(explorer(begun, sampler=sampler), post))
    assert len(made) == UNDECIDED
    for number, proposal in enumerate(made, 1):
        files = await begun.code.files(proposal.commit)
        old, new = find_knobs("train.py", TRAIN.decode()), find_knobs("train.py", files["train.py"].decode())
        changes = tuple(
            KnobChange(file="train.py", name=a.name, old=a.value, new=b.value)
            for a, b in zip(old, new, strict=True)
            if a.value != b.value
        )
        title = title_of(sampler, number, old, changes)
        assert proposal == ProposalPosted(
            tree=begun.code.tree_of(files),
            commit=proposal.commit,
            parents=(begun.base,),
            title=title,
            rationale=RATIONALE[sampler],
            origin=Origin(how="sampler", name=sampler),
            knobs=changes,
            as_of=begun.board.seq,
            values={"train.py": {knob.name: knob.value for knob in new}},
        )
        assert changes
        assert begun.code.tree(proposal.commit) == proposal.tree
        assert apply(FILES, FILES, old, {("train.py", k.name): k.value for k in new}) == files


async def test_a_proposal_carries_the_share_of_its_sampler_where_lots_are_drawn(begun: Arena) -> None:
    made = await live(begun, explorer(begun), 12)
    origins = [proposal.origin for proposal in made]
    knobs = len(knobs_of(FILES, ["train.py"]))
    count = portfolio.first_points(knobs) + portfolio.first_steps(knobs)
    assert {(origin.name, origin.share) for origin in origins[:count]} == {("sobol", None), ("step", None)}
    drawn = [origin for origin in origins[count:] if origin.share is not None]
    assert len(drawn) > 10
    # runs that took no time move nothing
    its = portfolio.shares(LEARNING, [])
    assert all(origin.share == round(its[origin.name], 4) for origin in drawn)


def test_a_title_names_the_knobs_that_moved_most_for_their_range() -> None:
    source = "LR = 0.01  # mesh: 1e-4..1.0 log\nWIDTH = 100  # mesh: 1..1000\nDROP = 0.5  # mesh: 0.0..1.0\n"
    knobs = find_knobs("a.py", f"{source}BETA = 0.9  # mesh: 0.0..1.0\n")
    new = (0.1, 110, 0.123456789, 0.9000001)
    changes = [KnobChange(file="a.py", name=k.name, old=k.value, new=v) for k, v in zip(knobs, new, strict=True)]
    named = "DROP 0.5 → 0.1235, LR 0.01 → 0.1, WIDTH 100 → 110 and 1 more"
    assert title_of("mutate", 7, knobs, changes) == f"mutate: {named}"
    assert title_of("sobol", 3, knobs, changes) == "sobol #3: 4 knobs"
    assert title_of("sobol", 3, knobs, changes[:1]) == "sobol: LR 0.01 → 0.1"
    assert title_of("step", 1, knobs, changes[3:]) == "step: BETA 0.9 → 0.9000001"


@pytest.mark.parametrize("sampler", SAMPLERS)
async def test_no_tree_is_proposed_twice(begun: Arena, sampler: str) -> None:
    made = await live(begun, explorer(begun, sampler=sampler), 30)
    assert len(made) == 30 * UNDECIDED
    assert len({proposal.tree for proposal in made} | {begun.base}) == len(made) + 1


async def test_no_more_than_a_few_proposals_wait_for_a_verdict(begun: Arena) -> None:
    ann = explorer(begun)
    first, second = proposals(await begun.when(ann, begun.opening))
    begun.add("ann", first)
    post = begun.add("ann", second)
    assert await begun.when(ann, post) == []
    post = begun.add("curator", ProposalRetired(proposal=first.tree, round=0, why="failed"))
    assert len(await begun.when(ann, post)) == 1


async def test_explorers_fill_the_queue_of_the_workers_that_are_there_together(begun: Arena) -> None:
    begun.add("w", WorkerJoined(boot="w", worker_class="cpu", device="cpu", slots=8))
    assert len(await begun.when(explorer(begun), begun.opening)) == 16
    for name in ("ann", "bob", "eve", "critic"):
        begun.add(name, AgentJoined(boot=name, role="critic" if name == "critic" else "explorer"))
    assert len(await begun.when(explorer(begun), begun.opening)) == 6
    begun.add("eve", AgentLeft(boot="eve"))
    assert len(await begun.when(explorer(begun), begun.opening)) == 8


async def test_a_restarted_explorer_fills_up_what_is_missing_and_repeats_nothing(begun: Arena) -> None:
    first, _ = proposals(await begun.when(explorer(begun), begun.opening))
    post = begun.add("ann", first)
    [third] = proposals(await begun.when(explorer(begun), post))
    begun.add("ann", third)
    assert third.tree != first.tree
    assert await begun.when(explorer(begun), post) == []


async def test_the_same_thought_makes_the_same_commit(begun: Arena, tmp_path: Path) -> None:
    other = Arena(tmp_path / "elsewhere")
    other.add("eve", baseline(other))
    other.score(other.base, 10.0)
    here = proposals(await begun.when(explorer(begun), begun.opening))
    assert here == await other.when(explorer(other), other.opening)
    commit = pygit2.Repository(str(tmp_path / "code.git"))[here[0].commit]
    assert isinstance(commit, pygit2.Commit)
    assert commit.commit_time == begun.opening.at.timestamp()


async def test_explorers_of_other_names_have_other_ideas(tmp_path: Path) -> None:
    begun = Arena(tmp_path, {"train.py": b"A = 0.1\nB = 0.1\nC = 0.1\n"})
    begun.add("eve", baseline(begun))
    begun.score(begun.base, 1.0)
    await live(begun, explorer(begun), 3)
    who = [explorer(begun, f"explorer-{n + 1}", n) for n in range(9)]
    made = [p for one in who for p in proposals(await begun.when(one, begun.opening))]
    assert len({p.tree for p in made}) == len(made) == 9 * UNDECIDED


async def test_of_two_with_the_same_idea_the_second_learns_whose_it_is(tmp_path: Path) -> None:
    files = {"train.py": b"BIAS = False\n"}
    arena, bus = Arena(tmp_path, files), MemoryBus("a")
    arena.add("eve", baseline(arena))
    post = arena.score(arena.base, 1.0)
    [anns] = await arena.when(explorer(arena, "ann"), post)
    [bobs] = await arena.when(explorer(arena, "bob"), post)
    await bus.post(Post.new("ann", anns))
    with pytest.raises(AlreadyPosted) as refused:
        await bus.post(Post.new("bob", bobs))
    assert refused.value.author == "ann"
    arena.add("ann", anns)
    [said] = await arena.when(explorer(arena, "bob"), post)
    assert said == NotePosted(
        channel="ops", text="bob found no new values in 30 draws; give the knobs wider ranges (knobs: 1)"
    )


async def test_a_crossover_has_two_parents_and_takes_each_knob_from_one_of_them(begun: Arena, tmp_path: Path) -> None:
    one = begun.propose_files(FILES | {"train.py": TRAIN.replace(b"1e-3", b"0.5").replace(b"tanh", b"relu", 1)})
    two = begun.propose_files(
        FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9").replace(b"False", b"True")}
    )
    assert isinstance(one.event, ProposalPosted)
    assert isinstance(two.event, ProposalPosted)
    begun.score(one.event.tree, 1.0)
    begun.score(two.event.tree, 2.0)
    made = await live(begun, explorer(begun, sampler="crossover"), 1)
    values = {"LR": (0.001, 0.5), "WIDTH": (8, 9), "BIAS": (False, True), "ACT": ("tanh", "relu")}
    for proposal in made:
        assert len(set(proposal.parents)) == 2
        assert proposal.origin == Origin(how="sampler", name="crossover")
        files = await begun.code.files(proposal.commit)
        assert all(k.value in values[k.name] for k in knobs_of(files, ["train.py"]))
        commit = pygit2.Repository(str(tmp_path / "code.git"))[proposal.commit]
        assert isinstance(commit, pygit2.Commit)
        assert [str(p.tree.id) for p in commit.parents] == list(proposal.parents)


async def test_the_next_parents_are_the_best(begun: Arena) -> None:
    trees = []
    for number in range(2, 9):
        post = begun.propose_files(FILES | {"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = %d" % (number * 5))})
        assert isinstance(post.event, ProposalPosted)
        trees.append(post.event.tree)
        begun.score(post.event.tree, number, number + 0.5)
    made = await live(begun, explorer(begun, sampler="mutate"), 1)
    assert {p for proposal in made for p in proposal.parents} <= set(trees[:ELITE])


async def test_crashes_are_no_parents(begun: Arena) -> None:
    post = begun.propose_files(FILES | {"train.py": TRAIN.replace(b"1e-3", b"0.9")})
    assert isinstance(post.event, ProposalPosted)
    begun.score(post.event.tree, "crash", "out_of_memory")
    made = proposals(await begun.when(explorer(begun, sampler="mutate"), post))
    assert {proposal.parents for proposal in made} == {(begun.base,)}


async def test_nothing_is_proposed_before_the_baseline_has_a_score(arena: Arena) -> None:
    arena.add("eve", baseline(arena))
    who = explorer(arena)
    assert await arena.when(who, arena.opening) == []
    post = arena.score(arena.base, "timeout")
    assert await arena.when(who, post) == []
    again = arena.request(arena.base, seed=2)
    made = proposals(await arena.when(who, arena.finish(again, 3.0)))
    assert {proposal.parents for proposal in made} == {(arena.base,)}


async def test_an_arena_without_knobs_is_said_once_by_one_explorer(tmp_path: Path) -> None:
    arena = Arena(tmp_path, {"train.py": b"print(1)\n"})
    ann, bob = explorer(arena, "ann", 0), explorer(arena, "bob", 1)
    arena.add("ann", *await arena.when(ann, arena.opening))
    arena.score(arena.base, 1.0)
    post = arena.add("curator", ProposalPromoted(proposal=arena.base, round=1, mean=1.0))
    text = (
        "arena a has no knobs, so explorers propose nothing; add constants to train.py, such as "
        "`LEARNING_RATE = 0.1  # mesh: 1e-3..1.0 log`"
    )
    assert await arena.when(ann, post) == [NotePosted(channel="ops", text=text)]
    assert await arena.when(ann, post) == []
    assert await arena.when(bob, post) == []


async def test_the_first_points_leave_no_gaps_and_then_every_kind_has_its_turn(tmp_path: Path) -> None:
    names = [f"K{n}" for n in range(9)]
    begun = Arena(tmp_path, {"train.py": "".join(f"{name} = 0.5  # mesh: 0.0..1.0\n" for name in names).encode()})
    begun.add("eve", baseline(begun))
    begun.score(begun.base, 1.0)
    made = await live(begun, explorer(begun), 40)
    kinds = [proposal.origin.name for proposal in made]
    assert sorted(kinds[:9]) == ["sobol"] * 6 + ["step"] * 3
    assert set(kinds[9:]) == set(LEARNING)


async def test_draws_near_what_is_known_or_pending_are_not_proposed(begun: Arena) -> None:
    made = await live(begun, explorer(begun), 20)
    code = [knobs_of(await begun.code.files(p.commit), ["train.py"]) for p in made]
    values = [{(k.file, k.name): k.value for k in knobs} for knobs in code]
    assert not any(are_near(code[0], one, two) for n, one in enumerate(values) for two in values[:n])


async def test_a_restart_in_the_middle_proposes_the_same(begun: Arena) -> None:
    ann = explorer(begun)
    await live(begun, ann, 15)
    post = begun.score(begun.base, 9.0)
    assert await begun.when(ann, post) == await begun.when(explorer(begun), post)


async def test_a_constant_that_a_proposal_adds_is_a_knob_for_everybody(begun: Arena) -> None:
    files = FILES | {"train.py": TRAIN.replace(b"SEED = 1", b"SEED = 1\nDECAY = 0.1  # mesh: 0.0..1.0")}
    post = begun.propose_files(files, author="researcher")
    assert isinstance(post.event, ProposalPosted)
    begun.score(post.event.tree, 1.0)
    post = begun.add("curator", ProposalPromoted(proposal=post.event.tree, round=1, mean=1.0))
    for sampler in SAMPLERS:
        who = [explorer(begun, f"explorer-{number}", sampler=sampler) for number in range(8)]
        made = [proposal for one in who for proposal in proposals(await begun.when(one, post))]
        assert "DECAY" in {change.name for proposal in made for change in proposal.knobs}, sampler


async def test_packages_that_are_missing_are_said_once_and_done_without(
    begun: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio, "find_spec", lambda name: None)
    ann, bob = explorer(begun, "ann", 0), explorer(begun, "bob", 1)
    *made, note = await begun.when(ann, begun.opening)
    text = (
        "packages not installed: cmaes, optuna. Explorers use only the samplers gaussian, quadratic, mutate, "
        "crossover, random. To use all, run pip install 'mesh-swarm[search]'"
    )
    assert (len(made), note) == (UNDECIDED, NotePosted(channel="ops", text=text))
    assert len(await begun.when(ann, begun.opening)) == UNDECIDED
    assert len(await begun.when(bob, begun.opening)) == UNDECIDED
    with pytest.raises(BadInput, match="option sampler=tpe needs the packages cmaes, optuna"):
        explorer(begun, sampler="tpe")


def test_a_value_from_elsewhere_is_put_into_the_range_of_the_knob() -> None:
    whole = Knob(file="t.py", name="X", value=3, low=1, high=6)
    word = Knob(file="t.py", name="X", value="a", choices=("a", "b"))
    assert [fitting(whole, value) for value in (9, 2.6, -1, None, "x")] == [6, 3, 1, 3, 3]
    assert [fitting(word, value) for value in ("b", "c", 1, None)] == ["b", "a", "a", "a"]
    assert fitting(Knob(file="t.py", name="X", value=9.0, low=0, high=1), 9.0) == 9.0


def test_values_that_return_to_the_baseline_are_spelled_as_in_it() -> None:
    base = find_knobs("train.py", TRAIN.decode())
    there = apply(FILES, FILES, base, {("train.py", k.name): k.value for k in base} | {("train.py", "LR"): 0.5})
    away = find_knobs("train.py", there["train.py"].decode())
    assert there != FILES
    assert apply(there, FILES, away, {("train.py", k.name): k.value for k in base}) == FILES


def test_code_that_differs_beyond_its_knobs_is_kept() -> None:
    child = {"train.py": TRAIN.replace(b"math.log(LR)", b"math.sqrt(LR)")}
    knobs = find_knobs("train.py", child["train.py"].decode())
    values = {("train.py", k.name): k.value for k in knobs} | {("train.py", "WIDTH"): 9}
    assert apply(child, FILES, knobs, values) == {"train.py": child["train.py"].replace(b"WIDTH = 8", b"WIDTH = 9")}


def test_an_unknown_sampler_is_refused(arena: Arena) -> None:
    with pytest.raises(BadInput, match="sampler=magic is not a known sampler"):
        explorer(arena, sampler="magic")
