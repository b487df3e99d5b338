"""Identity factors: expressions get numbers of their own, which change nothing at 1 and 0."""

import random
from pathlib import Path
from typing import Any

import pytest

from agents.explorer import Explorer
from agents.search.samplers.portfolio import LEARNING, installed_samplers
from agents.search.samplers.protocol import Trial, where
from agents.search.strategy import IDLE_AFTER, Strategy, since_rewritten
from agents.search.structure.factors import FACTORS, factor_sites, factored, neutral
from agents.search.structure.moves import can_rewrite, structural_moves
from mesh.events import ProposalPosted
from mesh.knobs import find_knobs, literal_values
from mesh.spec import KnobsSpec
from mesh.testing import SPEC, Arena

PROGRAM = """import math
import random

import numpy as np


def run(points):
    spread = math.hypot(points[0] - points[1], points[1] - points[2])
    x = np.sqrt(np.arange(6))
    y = spread / len(points) * 0.5 - math.exp(-spread)
    for i in range(3):
        x += y / (i + 2)
    draw = random.Random(7).uniform(0, 1)
    return x, far(points) + y, draw


def far(points):
    return math.sqrt(sum(p * p for p in points))
"""

TSP = """import math


def distance(a, b):
    return math.hypot(a[0] - b[0], a[1] - b[1])


def solve(cities):
    left, tour = [*range(1, len(cities))], [0]
    while left:
        near = min(left, key=lambda c: distance(cities[tour[-1]], cities[c]))
        left.remove(near)
        tour.append(near)
    return tour
"""


def result(source: str) -> Any:
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, "program", "exec"), names)
    if "solve" in names:
        return names["solve"]([(n * n % 7, n * 5 % 11) for n in range(12)])
    x, y, draw = names["run"]([1, 4, 2])
    return x.tolist(), y, draw


@pytest.mark.parametrize(("source", "least"), [(PROGRAM, 12), (TSP, 6)])
def test_with_one_and_zero_a_program_computes_the_same_to_the_last_bit(source: str, least: int) -> None:
    found = list(neutral(source))
    assert len(found) >= least
    for each in found:
        assert each.source != source
        assert result(each.source) == result(source), each.title


def test_every_factor_runs_and_most_of_them_change_what_is_computed() -> None:
    found = list(factored(PROGRAM))
    assert len({each.source for each in found}) == len(found)
    changed = [each.title for each in found if result(each.source) != result(PROGRAM)]
    assert len(changed) > 0.8 * len(found)


def test_a_factor_says_where_it_stands_and_the_first_ones_are_small() -> None:
    first = next(iter(factored(TSP)))
    assert first.title == "distance.return times 1.1"
    assert "return math.hypot(a[0] - b[0], a[1] - b[1]) * 1.1\n" in first.source
    assert "math.hypot((a[0] - b[0]) * 1.1, a[1] - b[1])" in "".join(each.source for each in factored(TSP))


def test_the_other_knobs_keep_their_names() -> None:
    knobs = {knob.name: knob.value for knob in find_knobs("x.py", PROGRAM)}
    for each in factored(PROGRAM):
        after = literal_values("x.py", each.source.encode())
        assert {name: after.get(name) for name in knobs} == knobs


@pytest.mark.parametrize(
    "lines",
    [
        "def run(n):\n    return [0] * n",
        "def run(n):\n    m = n // 2\n    return range(m + n)",
        "def run(x, n):\n    return x[int(n / 2) + n]",
        "def run(a, b):\n    return a + b",  # texts, lists or numbers
        "def run(path):\n    return path / 'name'",
        "def run():\n    names = 'a' + 'b'\n    return names",
        "def run():\n    x = [0.5] * 3\n    return x",
        "def run(n):\n    return {n + n: 'x'}",
        "import math\ndef validate(x):\n    return math.sqrt(x * x)",
        "import math\ndef run(x):\n    print(math.sqrt(x * x))",
        "import math\ndef run(x):\n    raise ValueError(math.sqrt(x * x))",
        "import math\ndef run(x):\n    score = math.sqrt(x)\n    return score",
        "import math\ndef run(x):\n    total_loss = math.exp(x)\n    return total_loss",
        "def run(h):\n    j = 1.0 - h\n    return use(j)",
        "def run(y):\n    return y",
        "import math\n# EVOLVE-BLOCK-START\nA = 3\n# EVOLVE-BLOCK-END\ndef run(x):\n    return math.sqrt(x)",
        "def run(x: float) -> int:\n    return round(x)",
        "def run(x: float, n: int, w: str):\n    return w",
        "def run(x: float):\n    x = [x]\n    return x",
        "def validate(x: float) -> float:\n    return x",
        "def score(x: float) -> float:\n    loss = x + x\n    return loss",
        "this is no Python",
        "",
    ],
)
def test_what_is_not_surely_a_float_or_judges_stays(lines: str) -> None:
    assert factor_sites(lines + "\n") == ()


@pytest.mark.parametrize(
    ("source", "sites"),
    [
        ("def run(x: float) -> float:\n    return x\n", ["run.return"]),
        ("def run(x: float, n: int):\n    y = x + n\n    return use(y)\n", ["run.y"]),
        ("def run(n) -> float:\n    return far(n)\n", ["run.return"]),
        ("def run(n):\n    y = far(n)\n    return use(y)\n\ndef far(n) -> float:\n    pass\n", ["run.y"]),
        ("def run(n):\n    y: float = far(n)\n    return y\n", ["run.y", "run.return"]),
    ],
)
def test_what_an_annotation_says_to_be_a_float_is_one(source: str, sites: list[str]) -> None:
    assert [site.name for site in factor_sites(source)] == sites
    assert can_rewrite({"x.py": source.encode()}, ["x.py"], KnobsSpec())


def test_a_product_that_has_a_literal_gets_a_summand_alone() -> None:
    titles = [
        each.title
        for each in factored("import math\n\ndef run(i):\n    angle = 2 * math.pi * i\n    return f(angle)\n")
    ]
    assert titles == ["run.angle + 0.1", "run.angle - 0.1"]


def test_programs_without_any_knob_can_be_searched() -> None:
    files = {"x.py": TSP.encode()}
    assert find_knobs("x.py", TSP) == []
    assert can_rewrite(files, ["x.py"], KnobsSpec())
    assert structural_moves((), files, ["x.py"], KnobsSpec()) == ("tables", FACTORS)
    assert structural_moves((), files, ["x.py"], KnobsSpec(structural=False)) == ()
    assert not can_rewrite(files, ["x.py"], KnobsSpec(exclude=("*",)))
    assert structural_moves((), files, ["x.py"], KnobsSpec(exclude=("*",))) == ("tables",)
    many = "def run():\n    return f(" + ", ".join(f"{n}.5" for n in range(3, 20)) + ")\n"
    rich = {"x.py": (TSP + many).encode()}
    assert structural_moves(find_knobs("x.py", TSP + many), rich, ["x.py"], KnobsSpec()) == ("tables",)


def test_a_structural_sampler_that_never_gains_is_asked_seldom() -> None:
    source = "import math\n\n\ndef run():\n    return f(3.5, 0.2)\n"
    space = find_knobs("x.py", source)
    values = {where(knob): knob.value for knob in space}
    trials = [Trial(tree=str(n), seq=n, values=values, loss=1.0, by="walk") for n in range(12)]
    trials += [Trial(tree=str(n), seq=n, values=values, loss=2.0, by=FACTORS) for n in range(12, 12 + IDLE_AFTER)]
    strategy = Strategy({}, [])
    asked = [strategy._earning(["tables", FACTORS], ["tables"], trials, random.Random(n))[0] for n in range(400)]
    assert 0 < asked.count(FACTORS) < 40
    assert asked.count("tables") == 400 - asked.count(FACTORS)


def test_a_walk_goes_on_from_a_factor_that_the_first_code_does_not_have() -> None:
    source = "import math\n\n\ndef run(x):\n    return math.exp(x) * 1.1 + f(3.5, 0.2)\n"
    space = find_knobs("x.py", source)
    whole = {where(knob): knob.value for knob in space}
    old = {at: value for at, value in whole.items() if value != 1.1}
    assert len(old) == len(whole) - 1
    trials = [Trial(tree="0", seq=0, values=old, loss=1.0, by="")]
    trials += [Trial(tree=str(n), seq=n, values=old | {min(old): n + 0.5}, loss=2.0, by="walk") for n in range(1, 35)]
    trials.append(Trial(tree="best", seq=40, values=whole, loss=0.5, by=FACTORS))
    seen = since_rewritten({*whole}, trials, ["tables", FACTORS])
    assert [(trial.tree, trial.by) for trial in seen] == [("best", "")]
    assert since_rewritten({*old}, trials, ["tables", FACTORS]) == trials
    samplers, _ = installed_samplers()
    strategy = Strategy(samplers, LEARNING)
    choice = strategy.ask(space, trials, [], random.Random(1), structural=["tables", FACTORS])
    assert (choice.kind, choice.idea.parents) == ("walk", ("best",))
    assert {at for at in whole if choice.idea.values[at] != whole[at]}


async def test_an_explorer_gives_factors_to_a_program_without_knobs(tmp_path: Path) -> None:
    arena = Arena(tmp_path, {"train.py": TSP.encode(), "score.py": b"print(1)\n"}, SPEC)
    explorer = Explorer(arena.context("ann"))
    [baseline] = await arena.when(explorer, arena.opening)
    arena.add("ann", baseline)
    arena.score(arena.base, 1.0)
    made = [each for each in await arena.when(explorer, arena.opening) if isinstance(each, ProposalPosted)]
    assert [each.origin.name for each in made] == [FACTORS] * len(made)
    assert made
    assert made[0].title == "factors: distance.return times 1.1"
    assert len({each.tree for each in made}) == len(made)
