"""The critic keeps from the queue what cannot run or is nothing new, and lets everything else through."""

from pathlib import Path

import anyio
import msgspec
import pytest

from agents.critic import Critic, judge
from agents.critique.earlier import Earlier
from agents.critique.fingerprint import fingerprint
from mesh.agent.runtime import Seat, run_agents
from mesh.events import AgentJoined, ArenaClosed, CritiquePosted, Origin, ProposalPosted, ProposalRetired
from mesh.memory import MemoryBus
from mesh.spec import ArtifactSpec
from mesh.testing import FILES, SPEC, TRAIN, Arena, opened
from mesh.wire import Post
from tests.test_runtime import said

SOUND = CritiquePosted(
    target="t", verdict="endorse", rule="sound", text="parses, changes only editable files, and is new"
)
EDITABLE = SPEC.artifact.editable


def block(rule: str, text: str, tree: str = "t") -> CritiquePosted:
    return CritiquePosted(target=tree, verdict="block", rule=rule, text=text, confidence=1.0)


def changed(old: str, new: str, files: dict[str, bytes] = FILES) -> dict[str, bytes]:
    """Files whose `train.py` has `new` instead of `old`."""
    assert old.encode() in files["train.py"]
    return files | {"train.py": files["train.py"].replace(old.encode(), new.encode(), 1)}


def word(files: dict[str, bytes], **earlier: dict[str, bytes]) -> CritiquePosted:
    """The word on files, given earlier proposals by their trees."""
    return judge(
        SPEC, "t", files, FILES, Earlier({tree: fingerprint(theirs, EDITABLE) for tree, theirs in earlier.items()})
    )


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (b"x = (", "'(' was never closed (line 1)"),
        (b"x = 1\nif x:\ny = 2\n", "expected an indented block after 'if' statement on line 2 (line 3)"),
        (b"x = 1\n\0", "source code string cannot contain null bytes"),
        (b"# coding: utf-8\nx = '\xff'\n", ""),
        (b"x = " + b"(" * 5000 + b"1" + b")" * 5000, "too many nested parentheses (line 1)"),
        (b"x = " + b"-" * 50_000 + b"1", ""),
    ],
    ids=["open", "indent", "null", "encoding", "nested", "deep"],
)
def test_what_does_not_parse_is_blocked(source: bytes, why: str) -> None:
    critique = word(FILES | {"train.py": source})
    assert critique == block("syntax", critique.text)
    assert critique.text.startswith(f"train.py does not parse: {why}")
    assert "\n" not in critique.text


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (FILES | {"score.py": b"print(0)\n"}, "score.py"),
        ({"train.py": TRAIN}, "score.py"),
        (FILES | {"sitecustomize.py": b""}, "sitecustomize.py"),
        (changed("WIDTH = 8", "WIDTH = 9") | {"a/b.py": b"x = (", "score.py": b""}, "a/b.py"),
    ],
    ids=["changed", "deleted", "added", "several"],
)
def test_what_touches_protected_files_is_blocked(files: dict[str, bytes], name: str) -> None:
    assert word(files) == block("protected", f"changes {name!r}, but only train.py may be changed")


def test_what_leaves_out_an_editable_file_is_blocked() -> None:
    assert word({"score.py": FILES["score.py"]}) == block("missing", "lacks 'train.py', which the trial needs")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("LR = 1e-3  #", "LR = 0.001  # small;"),
        ("WIDTH = 8", "WIDTH  =  (8)"),
        ("\nLR", "\n\n\n# a word\nLR"),
        ("import math", '"""A docstring."""\nimport math'),
        ("    return", '    """Return it."""\n    return'),
        ('"tanh"', "'tanh'"),
    ],
)
def test_what_says_the_same_as_the_baseline_is_blocked(old: str, new: str) -> None:
    text = "same code as the baseline except for comments and layout"
    assert word(changed(old, new)) == block("duplicate", text)


def test_what_says_the_same_as_an_earlier_proposal_is_blocked() -> None:
    relu = changed('ACT = "tanh"', 'ACT = "relu"')
    text = "same code as proposal 0123456789 except for comments and layout"
    assert judge(
        SPEC, "t", changed("# mesh", "# mesh", relu), FILES, Earlier({"0123456789abcdef": fingerprint(relu, EDITABLE)})
    ) == (block("duplicate", text))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SEED = 1", "SEED = 2"),
        ("SEED: int = 1", "SEED: int = 2"),
        ("self.seed = 1", "self.seed = 2"),
        ("def f() -> None:\n    rng_seed = 1", "def f() -> None:\n    rng_seed = 2"),
        ("torch.manual_seed(1)", "torch.manual_seed(2)"),
        ("rng = np.random.default_rng(1)", "rng = np.random.default_rng(2)"),
        ("split(x, random_state=1)", "split(x, random_state=2)"),
        ("fit(x, seed=1)", "fit(x, seed=2)"),
        ("def f(a, seed=1, *, init_seed=1): pass", "def f(a, seed=2, *, init_seed=3): pass"),
    ],
)
def test_what_changes_nothing_but_a_seed_is_blocked(before: str, after: str) -> None:
    base = changed("SEED = 1\n", before + "\n")
    critique = judge(SPEC, "t", changed(before, after, base), base, Earlier())
    assert critique == block("seed_only", "differs from the baseline only in a seed")


def test_what_changes_a_seed_of_an_earlier_proposal_is_blocked() -> None:
    relu = changed('ACT = "tanh"', 'ACT = "relu"')
    critique = word(changed("SEED = 1", "SEED = 2", relu), other=relu)
    assert critique == block("seed_only", "differs from proposal other only in a seed")


@pytest.mark.parametrize("rate", ["0.00105", "0.00096", "1.01e-3"])  # of four decades, 1 % is a factor of 1.096
def test_what_differs_by_next_to_nothing_from_an_earlier_proposal_is_warned_of(rate: str) -> None:
    relu = changed('ACT = "tanh"', 'ACT = "relu"')
    text = "near duplicate of proposal other: every knob differs by less than 1% of its range"
    near = CritiquePosted(target="t", verdict="warn", rule="near_duplicate", text=text)
    assert word(changed("1e-3", rate, relu), other=relu) == near


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("1e-3", "0.002"),
        ("WIDTH = 8", "WIDTH = 9"),
        ("BIAS = False", "BIAS = True"),
        ('ACT = "tanh"', 'ACT = "relu"'),
        ("math.log(LR)", "math.sqrt(LR)"),
        ("BIAS = False", "BIAS = False\nNEW = 1"),
        ("1e-4..1.0 log", "1e-5..1.0 log\nNEW = 1"),
        ("SEED = 1", "SEED = 2\nDEPTH = 3"),
    ],
)
def test_what_is_new_is_endorsed(old: str, new: str) -> None:
    gelu = changed('ACT = "tanh"', 'ACT = "gelu"')
    assert word(changed(old, new)) == SOUND
    assert word(changed(old, new, gelu) if "ACT" not in old else changed(old, new), other=gelu) == SOUND


def test_a_small_relative_step_that_is_large_in_its_range_is_new() -> None:
    base = {"train.py": b"BETA = 0.98  # mesh: 0.9..0.999\n"}
    earlier = {"other": fingerprint({"train.py": b"BETA = 0.99  # mesh: 0.9..0.999\n"}, EDITABLE)}
    assert judge(SPEC, "t", {"train.py": b"BETA = 0.995  # mesh: 0.9..0.999\n"}, base, Earlier(earlier)) == SOUND


def test_editable_files_of_another_language_are_compared_byte_by_byte() -> None:
    spec = msgspec.structs.replace(SPEC, artifact=ArtifactSpec(editable=("a.cfg",)))
    base = {"a.cfg": b"# x = ("}
    assert judge(spec, "t", {"a.cfg": b"# x = (("}, base, Earlier()) == SOUND
    assert judge(spec, "t", base, base, Earlier()).rule == "duplicate"


def test_code_too_deep_for_a_walk_of_its_syntax_is_compared_byte_by_byte() -> None:
    deep = FILES | {"train.py": b"x = " + b"+".join([b"1"] * 2000) + b"\n"}
    assert word(changed("x =", "x  =", deep), other=deep) == SOUND
    assert word(changed("x =", "x =", deep), other=deep).rule == "duplicate"


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    """An open arena whose baseline is proposed."""
    arena = Arena(tmp_path)
    origin = Origin(how="baseline")
    arena.add("ann", ProposalPosted(tree=arena.base, commit=arena.base_commit, title="as it is", origin=origin))
    return arena


def critic(arena: Arena) -> Critic:
    return Critic(arena.context("critic"))


def tree_of(post: Post) -> str:
    assert isinstance(post.event, ProposalPosted)
    return post.event.tree


async def test_on_joining_the_critic_makes_up_for_what_it_missed(arena: Arena) -> None:
    good = tree_of(arena.propose_files(changed("WIDTH = 8", "WIDTH = 9")))
    bad = tree_of(arena.propose_files(changed("WIDTH = 8", "WIDTH = (")))
    retired = tree_of(arena.propose_files(changed("WIDTH = 8", "WIDTH = 20")))
    arena.add("curator", ProposalRetired(proposal=retired, round=0, why="not_better"))
    words = await critic(arena).joined(arena.board)
    endorse = CritiquePosted(target=good, verdict="endorse", rule="sound", text=SOUND.text)
    assert words == [
        CritiquePosted(
            target=arena.base,
            verdict="endorse",
            rule="baseline",
            text="the baseline: every proposal is compared with it",
        ),
        endorse,
        block("syntax", "train.py does not parse: '(' was never closed (line 4)", bad),
    ]
    for event in words:
        arena.add("critic", event)
    assert await critic(arena).joined(arena.board) == []


async def test_a_proposal_is_judged_against_what_came_before_it_alone(arena: Arena) -> None:
    first = arena.propose_files(changed("WIDTH = 8", "WIDTH = 9"))
    second = arena.propose_files(changed("WIDTH = 8", "WIDTH = 9  # more"))
    text = f"same code as proposal {tree_of(first)[:10]} except for comments and layout"
    judging = critic(arena)
    assert await judging.handle(second, arena.board) == [block("duplicate", text, tree_of(second))]
    assert await judging.handle(first, arena.board) == [
        CritiquePosted(target=tree_of(first), verdict="endorse", rule="sound", text=SOUND.text)
    ]


async def test_what_was_blocked_does_not_stand_in_the_way_of_its_repair(arena: Arena) -> None:
    broken = arena.propose_files(changed("WIDTH = 8", "WIDTH = 9") | {"score.py": b"print(0)\n"})
    arena.add("curator", ProposalRetired(proposal=tree_of(broken), round=0, why="blocked"))
    repaired = arena.propose_files(changed("WIDTH = 8", "WIDTH = 9"))
    [critique] = await critic(arena).handle(repaired, arena.board)
    assert critique == CritiquePosted(target=tree_of(repaired), verdict="endorse", rule="sound", text=SOUND.text)


async def test_code_that_nobody_has_blocks_its_own_proposal_alone(arena: Arena) -> None:
    gone = ProposalPosted(tree="1" * 40, commit="2" * 40, title="gone", origin=Origin(how="human"))
    lost = arena.add("eve", gone)
    good = arena.propose_files(changed("WIDTH = 8", "WIDTH = 9"))
    judging = critic(arena)
    [first] = await judging.handle(lost, arena.board)
    assert first == block("no_code", f"arena a has no object {'2' * 40}", "1" * 40)
    assert await judging.handle(good, arena.board) == [
        CritiquePosted(target=tree_of(good), verdict="endorse", rule="sound", text=SOUND.text)
    ]


async def test_a_proposal_under_the_name_of_another_tree_is_blocked(arena: Arena) -> None:
    claim = ProposalPosted(tree="1" * 40, commit=arena.base_commit, title="mine", origin=Origin(how="human"))
    words = await critic(arena).handle(arena.add("eve", claim), arena.board)
    text = f"claims tree {'1' * 10}, but its commit has tree {arena.base[:10]}"
    assert words == [block("other_code", text, "1" * 40)]


async def test_nothing_is_judged_once_the_arena_is_closed(arena: Arena) -> None:
    post = arena.propose_files(changed("WIDTH = 8", "WIDTH = 9"))
    arena.add("operator", ArenaClosed(version=1, reason="operator"))
    assert await critic(arena).handle(post, arena.board) == []


async def test_a_critic_in_the_loop_judges_each_proposal_once_over_two_lives(arena: Arena) -> None:
    bus = MemoryBus("a")
    files = [changed("WIDTH = 8", f"WIDTH = {n}") for n in (9, 10, 11)]
    made = [arena.propose_files(each) for each in files]
    await bus.post_all([Post.new("operator", opened(SPEC, arena.base_commit, arena.base)), *made[:2]])
    with anyio.fail_after(60):
        for number in (2, 3):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run_agents, bus, [Seat("critic", critic(arena))], arena.code)
                if number == 3:
                    await said(bus, AgentJoined, 2)
                    await bus.post(made[2])
                posts = await said(bus, CritiquePosted, number, "critic")
                tasks.cancel_scope.cancel()
    assert [post.event for post in posts] == [
        CritiquePosted(target=tree_of(post), verdict="endorse", rule="sound", text=SOUND.text) for post in made
    ]


async def test_what_lies_where_all_have_failed_is_blocked_as_an_opinion(arena: Arena) -> None:
    for width in (30, 31, 32):
        failed = arena.propose_files(changed("WIDTH = 8", f"WIDTH = {width}"))
        arena.score(tree_of(failed), "out_of_memory")
    near = arena.propose_files(changed("WIDTH = 8", "WIDTH = 34"))
    far = arena.propose_files(changed("WIDTH = 8", "WIDTH = 50"))
    judging = critic(arena)
    [ended] = await judging.handle(near, arena.board)
    text = "all 3 earlier proposals with every knob within 10% of its range have failed"
    assert ended == CritiquePosted(target=tree_of(near), verdict="block", rule="dead_end", text=text, confidence=0.9)
    [open_] = await judging.handle(far, arena.board)
    assert isinstance(open_, CritiquePosted)
    assert open_.verdict == "endorse"


async def test_one_score_among_the_failures_keeps_a_region_open(arena: Arena) -> None:
    for width, result in ((30, "crash"), (31, "crash"), (32, "crash"), (33, 1.0)):
        made = arena.propose_files(changed("WIDTH = 8", f"WIDTH = {width}"))
        arena.score(tree_of(made), result)  # type: ignore[arg-type]
    [word] = await critic(arena).handle(arena.propose_files(changed("WIDTH = 8", "WIDTH = 35")), arena.board)
    assert isinstance(word, CritiquePosted)
    assert word.verdict != "block"
