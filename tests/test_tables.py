"""Arrays that a program builds from nothing become tables of numbers, without running the program."""

import ast
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.explorer import Explorer
from agents.search.samplers.portfolio import LEARNING, installed_samplers, shares
from agents.search.samplers.protocol import Trial, Values, where
from agents.search.samplers.table_moves import TableMoves, table_knobs, without_tables
from agents.search.strategy import SETTLED_AFTER, Strategy, has_settled
from agents.search.structure.moves import is_structural, rewritten
from agents.search.structure.tables import with_tables
from mesh.arena import load_arena
from mesh.events import ProposalPosted
from mesh.knobs import find_knobs
from mesh.spec import KnobsSpec
from mesh.testing import SPEC, Arena

RINGS = """import numpy as np


def run():
    n = 5
    points = np.zeros((n, 2))
    points[0] = [0.5, 0.5]
    for i in range(4):
        angle = 2 * np.pi * i / 4
        points[i + 1] = [0.5 + 0.3 * np.cos(angle), 0.5 + 0.3 * np.sin(angle)]
    points = np.clip(points, 0.1, 0.7)
    return improve(points)


def improve(points):
    return points
"""

PROGRAMS = {
    "loops": RINGS,
    "linspace": "import numpy\n\ndef run():\n    x = numpy.linspace(0.1, 2, 7) ** 2\n    return improve(x)\n",
    "comprehension": "import math\n\n"
    "def run():\n    x = [math.sin(i) / 3 for i in range(9) if i != 2]\n    return improve(x)\n",
    "appended": (
        "from math import pi\n\ndef run():\n    x = []\n    for i in range(3):\n        for j in range(2):\n"
        "            x.append((i * pi, j + 0.5))\n    return improve(x)\n"
    ),
    "seeded": (
        "import numpy as np\n\ndef run():\n    rng = np.random.default_rng(seed=42)\n"
        "    x = rng.random((6, 2))\n    return improve(x)\n"
    ),
    "seeded by numpy": (
        "import numpy as np\n\n"
        "def run():\n    np.random.seed(3)\n    x = np.random.rand(4, 2) - 0.5\n    return improve(x)\n"
    ),
    "quasi-random": (
        "import numpy as np\nimport scipy.stats.qmc\n\n"
        "def run():\n    x = scipy.stats.qmc.Sobol(d=3, scramble=True, seed=12).random(n=8)\n    return improve(x)\n"
    ),
    "quasi-random without a seed": (
        "import numpy as np\n\ndef run():\n    from scipy.stats import qmc\n"
        "    points = qmc.Halton(2, scramble=False)\n    points.random(3)\n"
        "    x = qmc.scale(points.random(4), [0, 1], [1, 3])\n    return improve(x)\n"
    ),
    "latin hypercube": (
        "import numpy as np\nfrom scipy.stats.qmc import LatinHypercube\n\n"
        "def run():\n    x = LatinHypercube(d=2, seed=3).random(5)\n    return improve(x)\n"
    ),
    "default": "import numpy as np\n\n"
    "def run(n=6):\n    x = np.arange(n) / n\n    x[0] += 0.25\n    return improve(x)\n",
    "module": "import numpy as np\nN = 4\nX = np.ones((N, 2)) * np.array([1.0, 2.5])\n\n"
    "def run():\n    return improve(X)\n",
    "later": (
        "import numpy as np\n\n"
        "def run():\n    x = np.zeros(4)\n    print('begin')\n    x[1:3] = 0.5\n    return improve(x)\n"
    ),
    "single precision": (
        "import numpy as np\n\ndef run():\n    x = np.linspace(0, 1, 5).astype(np.float32)\n    return improve(x)\n"
    ),
}


def value_of(source: str) -> Any:
    """Run a program of this file, and return what its `run` hands to `improve`."""
    names: dict[str, Any] = {"improve": lambda x: x}
    exec(compile(source, "program", "exec"), names)
    return names["run"]()


@pytest.mark.parametrize("source", PROGRAMS.values(), ids=list(PROGRAMS))
def test_the_table_has_the_values_that_the_program_computes(source: str) -> None:
    found = with_tables(source)
    assert found is not None
    before, after = value_of(source), value_of(found.source)
    assert type(after) is type(before)
    assert np.shape(after) == np.shape(before)
    assert np.allclose(after, before, atol=1e-5)
    assert getattr(after, "dtype", None) == getattr(before, "dtype", None)
    numbers = table_knobs(find_knobs("t.py", found.source))
    assert len(numbers) == np.size(before)
    assert with_tables(found.source) is None


def test_the_lines_that_build_an_array_give_way_to_its_table() -> None:
    found = with_tables(RINGS)
    assert found is not None
    assert found.title == "points of run written out as numbers"
    assert "for i in range" not in found.source
    assert found.source.splitlines()[:5] == [*RINGS.splitlines()[:4], "    points = np.array(["]
    assert found.source.endswith(RINGS[RINGS.index("    return improve") :])


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ("    return np.full(95, 0.5)\n", 95),
        ("    circles = np.zeros((21, 3))\n\n    return circles\n", 63),
        (
            "    x = []\n    for i in range(9):\n        if len(x) == 6:\n            return np.array(x)\n"
            "        x.append((i + 0.5, 1 / 3))\n    raise ValueError(x)\n",
            12,
        ),
        ("    rng = np.random.default_rng(7)\n    return rng.dirichlet(np.ones(3), size=5) @ np.eye(3)\n", 15),
        ("    x = np.linspace(-1, 1, 600)\n    return np.exp(-x * x)\n", 600),
        ("    x = np.linspace(-1, 1, 600)\n    y = x**2\n    return y, improve(y)\n", 600),
    ],
)
def test_equal_numbers_early_returns_draws_and_long_lists_become_tables_or_get_a_profile(
    body: str, numbers: int
) -> None:
    source = f"import numpy as np\n\n\ndef improve(x):\n    return x\n\n\ndef run():\n{body}"
    found = with_tables(source)
    assert found
    old, new = (value_of(text) for text in (source, found.source))
    old, new = (np.asarray(value[0] if isinstance(value, tuple) else value) for value in (old, new))
    assert old.size == numbers
    assert np.allclose(old, new, rtol=1e-8, atol=1e-12)
    assert len(table_knobs(find_knobs("x.py", found.source))) == (24 if numbers > 300 else numbers)
    assert with_tables(found.source) is None


def test_a_line_that_is_needed_later_stays_and_the_table_stands_behind_it() -> None:
    source = RINGS.replace("improve(points)\n", "improve(points + angle)\n", 1)
    found = with_tables(source)
    assert found is not None
    at = source.index("    return improve")
    assert found.source.startswith(source[:at])
    assert found.source.endswith(source[at:])


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\n\ndef run(n):\n    x = np.ones(n) / 3\n    return improve(x)\n",  # what n is, nobody knows
        "import numpy as np\n\ndef run():\n    x = np.random.rand(4)\n    return improve(x)\n",  # no seed
        "import numpy as np\n\ndef run():\n    x = np.arange(8)\n    return improve(x)\n",  # whole numbers
        "import numpy as np\n\ndef run():\n    x = np.zeros(8)\n    return improve(x)\n",  # filled elsewhere
        "import numpy as np\n\ndef run():\n    x = np.ones((301, 2)) / 3\n    return improve(x)\n",  # data
        "import numpy as np\n\ndef run():\n    x = np.linspace(0, 1, 8)\n    return 1\n",  # not used
        "import numpy as np\n\ndef run():\n    x = np.array([0.5, 1.0, 2.0, 3.0])\n    return improve(x)\n",  # is one
        "import numpy as np\n\n"
        "def run():\n    x = np.linspace(0, 1, 8)\n    fill(x)\n    x[0] = 2\n    return improve(x)\n",
        "import numpy as np\n\ndef validate(y):\n    x = np.linspace(0, 1, 8)\n    return improve(x, y)\n",  # it judges
        "import numpy as np\n\ndef run():\n    x = other(np.linspace(0, 1, 8))\n    return improve(x)\n",
        "import numpy as np\n# EVOLVE-BLOCK-START\nA = 1\n# EVOLVE-BLOCK-END\n"
        "def run():\n    x = np.linspace(0, 1, 8)\n"
        "    return improve(x)\n",
        "import numpy as np\nfrom scipy.stats import qmc\n\n"
        "def run():\n    x = qmc.Sobol(d=2).random(8)\n    return improve(x)\n",  # no seed
        "import numpy as np\nfrom scipy.stats import qmc\n\n"
        "def run():\n    x = qmc.Sobol(d=2, seed=1).random(10**9)\n    return improve(x)\n",  # too many
        "def run(:\n",
    ],
)
def test_what_is_not_built_from_nothing_or_may_not_change_stays(source: str) -> None:
    assert with_tables(source) is None


@pytest.mark.parametrize(
    "line",
    [
        "x = [0.5] * 10**10",
        "x = np.zeros(10**10) + 0.5",
        "x = np.ones((10**5, 10**5))",
        "x = np.outer(np.ones(10**4), np.ones(10**4))",
        "x = np.ones((9999, 1)) * np.ones((1, 9999))",
        "x = 10**10**10 * 0.5",
        "x = [i for i in range(10**10)]",
        "x = [i * j * 0.5 for i in range(10000) for j in range(10000)]",
        "x = np.linspace(0, 1, 10**10)",
        "x = np.repeat([0.5], 10**10)",
        "x = np.arange(0, 1, 1e-12)",
        "x = np.tile([0.5, 1], (10**6, 10**6))",
        "while True: x = [0.5]",
        "x = [float(c) for c in open('/etc/passwd')]",
        "x = __import__('os').listdir('/')",
        "x = [0.5, 1].__class__.__base__.__subclasses__()",
        "x = np.fromfile('/etc/passwd')",
        "x = np.load('/etc/passwd', allow_pickle=True)",
        "x = np.random.default_rng(1).normal(0, 1, 10**10)",
        "x = np.full(10**10, 0.5)",
        "x = eval('[0.5] * 9')",
        "x = [0.5, 1.0, 2.0, 1 / 0]",
        "x = np.ones(8).astype('O')",
        "x = (lambda: [0.5] * 8)()",
    ],
)
def test_a_harmful_program_is_neither_run_nor_waited_for(line: str) -> None:
    began = time.process_time()
    assert with_tables(f"import numpy as np\n\ndef run():\n    {line}\n    return improve(x)\n") is None
    assert time.process_time() - began < 2


def test_moves_of_a_table_find_most_of_the_gain_where_single_steps_say_little() -> None:
    found = with_tables(RINGS)
    assert found is not None
    space = find_knobs("t.py", found.source)
    rng = random.Random(3)
    best = {where(knob): rng.uniform(0.2, 0.8) for knob in table_knobs(space)}

    def loss(values: Values) -> float:
        return max(abs(float(values[at]) - best[at]) for at in best)  # only the worst number counts

    first: Values = {where(knob): knob.value for knob in space}
    trials = [Trial(tree="0", seq=0, values=first, loss=loss(first), by="tables")]
    for number in range(1, 400):
        idea = TableMoves().ask(space, trials, [], random.Random(number))
        trials.append(Trial(tree=f"{number}", seq=number, values=idea.values, loss=loss(idea.values), by="tables"))
    least = min(trial.loss for trial in trials if trial.loss is not None)
    assert trials[0].loss is not None
    assert least < 0.3 * trials[0].loss


def test_large_tables_are_not_stepped_number_by_number() -> None:
    found = with_tables(RINGS.replace("n = 5", "n = 9").replace("range(4)", "range(8)").replace("/ 4", "/ 8"))
    assert found is not None
    space = find_knobs("t.py", found.source)
    assert len(table_knobs(space)) == 18
    assert without_tables(space) == []


def test_a_sampler_that_never_gains_goes_down_to_little() -> None:
    trials = [Trial(tree="0", seq=0, values={("t.py", "a"): 1.0}, loss=10.0, seconds=1.0)]
    for n in range(1, 200):  # tables are as good as the best of the time, and never better
        by = "tables" if n % 2 else "walk"
        loss = 10.0 - (n // 2) * 0.01 if by == "walk" else 11.0
        trials.append(Trial(tree=f"{n}", seq=n, values={("t.py", "a"): 1.0}, loss=loss, by=by, seconds=1.0))
    found = shares(["walk", "mutate", "tables"], trials)
    assert found["tables"] < 0.15 < 0.5 < found["walk"]


def _first_table(program: str, loss: Callable[[int], float], most: int) -> int | None:
    """Return the number of trials before the first idea that rewrites code; None if there is none among `most`."""
    space = find_knobs("t.py", program)
    start: Values = {where(knob): knob.value for knob in space}
    trials = [Trial(tree="0", seq=0, values=start, loss=loss(0), by="", seconds=5.0)]
    strategy = Strategy(installed_samplers()[0], LEARNING)
    for n in range(1, most):
        choice = strategy.ask(space, trials, [], random.Random(n), structural=("tables",))
        if choice.kind == "tables":
            return n
        values = start | choice.idea.values
        trials.append(Trial(tree=f"{n}", seq=n, values=values, loss=loss(n), by=choice.kind, seconds=5.0))
    return None


def test_code_is_rewritten_only_once_its_literals_are_tried_and_hardly_gain_any_more() -> None:
    two = "def f():\n    return g(0.3, 1.7)\n"
    many = f"def f():\n    return g({', '.join(f'{n}.3' for n in range(1, 21))})\n"
    assert has_settled([]) is False
    assert _first_table(two, lambda n: 10.0 - n / 10, 60) is None
    few, more = (_first_table(program, lambda n: 10.0, 150) for program in (two, many))
    assert few
    assert more
    assert SETTLED_AFTER < few < 60 <= more  # nearly four steps of each of twenty literals


def test_literals_whose_other_values_all_fail_have_nothing_more_to_give() -> None:
    first, *failed = (
        Trial(tree=str(n), seq=n, values={}, loss=None if n else 1.0, by="walk") for n in range(SETTLED_AFTER + 1)
    )
    assert has_settled([first, *failed])
    assert not has_settled([first, *failed[1:]])
    assert not has_settled([*failed, *failed])  # nothing has a score yet


def test_code_is_rewritten_where_nobody_gave_ranges_or_where_it_is_asked_for() -> None:
    declared = find_knobs("t.py", "LR = 0.1  # mesh: 1e-3..1.0 log\nWIDTH = 8\n")
    literal = find_knobs("t.py", "def f():\n    return g(0.3)\n")
    assert not is_structural(declared, KnobsSpec())
    assert is_structural(declared, KnobsSpec(structural=True))
    assert is_structural(literal, KnobsSpec())
    assert not is_structural(literal, KnobsSpec(structural=False))
    assert is_structural([], KnobsSpec())
    assert not is_structural([], KnobsSpec(literals=False))
    assert rewritten({"a.txt": b"1", "t.py": RINGS.encode()}, ["a.txt", "gone.py", "t.py"], KnobsSpec()) is not None
    assert rewritten({"t.py": RINGS.encode()}, ["t.py"], KnobsSpec(exclude=("run.*",))) is None
    assert rewritten({"t.py": b"\xff"}, ["t.py"], KnobsSpec()) is None


@pytest.mark.parametrize("said", ["true", "false", '"auto"'])
def test_the_table_knobs_of_arena_toml_takes_structural(tmp_path: Path, said: str) -> None:
    (tmp_path / "t.py").write_text(RINGS)
    (tmp_path / "score.py").write_text("print('score: 1')\n")
    (tmp_path / "arena.toml").write_text(
        '[arena]\nname = "a"\n[artifact]\neditable = ["t.py"]\n'
        '[trial]\ncommand = ["python", "score.py"]\nbudget_s = 5\ndeadline_s = 9\n'
        '[score]\nhow = "stdout"\npattern = "score: (.*)"\n[objective]\nmetric = "m"\ndirection = "minimize"\n'
        f"[knobs]\nstructural = {said}\n"
    )
    assert load_arena(tmp_path).knobs.structural == {"true": True, "false": False}.get(said, "auto")


async def test_an_explorer_rewrites_a_program_without_knobs_and_then_moves_its_numbers(tmp_path: Path) -> None:
    source = (
        "import numpy as np\n\n"
        "def run():\n    x = np.ones(5)\n    for i in range(5):\n        x[i] = i / 5\n    return improve(x)\n"
    )
    source = source.replace("i / 5", "i / len(x)")
    spec_files = {"train.py": source.encode(), "score.py": b"print(1)\n"}
    arena = Arena(tmp_path, files=spec_files)
    who = Explorer(arena.context("ann"))
    assert find_knobs("train.py", source) == []
    [baseline] = await arena.when(who, arena.opening)
    assert isinstance(baseline, ProposalPosted)
    arena.add("ann", baseline)
    post = arena.score(baseline.tree, 10.0)
    [root] = await arena.when(who, post)
    assert isinstance(root, ProposalPosted)
    assert root.title == "tables: x of run written out as numbers"
    assert root.parents == (baseline.tree,)
    assert root.origin.name == "tables"
    files = await arena.code.files(root.commit)
    assert np.allclose(value_of(files["train.py"].decode()), np.arange(5) / 5)
    arena.add("ann", root)
    post = arena.score(root.tree, 10.0)
    moved = await arena.when(who, post)
    assert moved
    for proposal in moved:
        assert isinstance(proposal, ProposalPosted)
        text = (await arena.code.files(proposal.commit))["train.py"].decode()
        assert {change.name.partition("[")[0] for change in proposal.knobs} == {"run.x"}
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(files["train.py"]))


async def test_an_explorer_never_rewrites_where_ranges_are_given(tmp_path: Path) -> None:
    text = (
        "import numpy as np\nLR = 0.1  # mesh: 1e-3..1.0 log\n\n"
        "def run():\n    x = np.linspace(0, LR, 8)\n    return f(x)\n"
    )
    arena = Arena(tmp_path, files={"train.py": text.encode(), "score.py": b"print(1)\n"}, spec=SPEC)
    who = Explorer(arena.context("ann"))
    [baseline] = await arena.when(who, arena.opening)
    assert isinstance(baseline, ProposalPosted)
    arena.add("ann", baseline)
    post = arena.score(baseline.tree, 10.0)
    names: set[str] = set()
    for turn in range(12):
        for proposal in await arena.when(who, post):
            if isinstance(proposal, ProposalPosted):
                arena.add("ann", proposal)
                names.add(proposal.origin.name)
                post = arena.score(proposal.tree, 9.0 + turn / 10)
    assert len(names) > 1
    assert "tables" not in names
