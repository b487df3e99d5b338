"""Numbers, booleans and words of a Python program are knobs wherever they stand, if they are worth a trial."""

import pytest

from mesh.knobs import Knob, edit, find_knobs, knobs_of
from mesh.literals import literals_of
from mesh.spec import KnobsSpec

ALL = KnobsSpec(literals=True)


def knobs(source: str, rules: KnobsSpec = ALL) -> dict[str, Knob]:
    """The knobs of a source by their names."""
    return {knob.name: knob for knob in find_knobs("t.py", source, rules)}


def names(source: str) -> list[str]:
    return list(knobs(source))


def reason(source: str, name: str) -> str:
    return {literal.name: literal.excluded for literal in literals_of("t.py", source)}[name]


PROGRAM = '''"""Places discs."""
import numpy as np
from dataclasses import dataclass

lr = 0.1
Steps: int = 40


@dataclass
class Config:
    depth: int = 8
    widths: tuple = (32, 64)
    bias: bool = False


class Model:
    def fit(self, x, rate=0.3, *, momentum=0.9):
        self.scale = 2.5
        y = np.clip(x * 0.7, -0.2, 1.5)
        for step in range(50):
            if step > 12:
                y = y - rate * 0.01
        return y * 0.5


def pack(n):
    points = [[0.1, 0.5], [0.9, 0.0]]
    options = {"tolerance": 1e-4, "maxiter": 200}
    best, worst = 0.25, 0.75
    return place(points, radius=0.05, **options)
'''


def test_a_literal_is_named_by_where_it_stands() -> None:
    assert names(PROGRAM) == [
        "lr",
        "Steps",
        "Config.depth",
        "Config.widths[0]",
        "Config.widths[1]",
        "Config.bias",
        "Model.fit.rate",
        "Model.fit.momentum",
        "Model.fit.scale",
        "Model.fit.y",
        "Model.fit.y#2",
        "Model.fit.y#3",
        "Model.fit.if.step",
        "Model.fit.y#4",
        "Model.fit.return.y",
        "pack.points[0][0]",
        "pack.points[0][1]",
        "pack.points[1][0]",
        "pack.points[1][1]",
        "pack.tolerance",
        "pack.maxiter",
        "pack.best",
        "pack.worst",
        "pack.radius",
    ]


def test_no_name_depends_on_a_value() -> None:
    before = find_knobs("t.py", PROGRAM, ALL)
    every = [literal.name for literal in literals_of("t.py", PROGRAM)]
    for knob in before:
        for value in (-3, 0, 1, 2.5, 0.0, 1e-9, 7):
            new = (not knob.value) if isinstance(knob.value, bool) else value
            after = edit(PROGRAM, {knob.name: new})
            assert [literal.name for literal in literals_of("t.py", after)] == every
            assert {literal.name: literal.value for literal in literals_of("t.py", after)}[knob.name] == new


def test_names_stay_when_lines_move_and_never_meet() -> None:
    moved = PROGRAM.replace("def pack(n):", "def other(a=0.1):\n    return a * 0.2\n\n\n# words\n\n\ndef pack(n):")
    assert [name for name in names(moved) if not name.startswith("other.")] == names(PROGRAM)
    twice = "def f(x):\n" + "    x = g(x * 0.5, a=0.5) + 0.5\n" * 30 + "f.x = 0.5\nx = {'x#2': 0.5, 'x': 0.5}\n"
    every = [literal.name for literal in literals_of("t.py", twice)]
    assert len(every) == len(set(every)) == 93
    assert all(len(name) <= 256 for name in names("def " + "f" * 400 + "(x):\n    return x * 0.5 + x * 0.7\n"))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a=8): pass", Knob(file="t.py", name="f.a", value=8, low=2, high=32, log=True, step="one")),
        ("x = f(64)", Knob(file="t.py", name="x", value=64, low=16, high=256, log=True, step="factor")),
        ("x = 2**19", Knob(file="t.py", name="x", value=2**19, low=2**17, high=2**21, log=True, step="factor")),
        ("x = 1e-3", Knob(file="t.py", name="x", value=1e-3, low=1e-4, high=1e-2, log=True, step="factor")),
        ("x = 2.5", Knob(file="t.py", name="x", value=2.5, low=0.25, high=25, log=True, step="factor")),
        ("x = 3**0.5 * n**-0.5", Knob(file="t.py", name="x", value=3.0, low=0.3, high=30, log=True, step="factor")),
        ("x = -4.0", Knob(file="t.py", name="x", value=-4.0, low=-12, high=4, step="add")),
        ("x = 0.0", Knob(file="t.py", name="x", value=0.0, low=-0.5, high=0.5, step="add")),
        ("f(final_ratio=0.0)", Knob(file="t.py", name="final_ratio", value=0.0, low=0, high=0.5, step="add")),
        ("f(weight_decay=0.0)", Knob(file="t.py", name="weight_decay", value=0.0, low=1e-4, high=0.1, log=True)),
        ("f(shift=0)", Knob(file="t.py", name="shift", value=0, low=-2, high=2, step="one")),
        ("def f(nested=True): pass", Knob(file="t.py", name="f.nested", value=True, choices=(False, True))),
    ],
)
def test_a_literal_has_the_range_that_fits_its_value(source: str, expected: Knob) -> None:
    [found] = find_knobs("t.py", source)
    assert (found.name, found.value, found.log, found.choices) == (
        expected.name,
        expected.value,
        expected.log,
        expected.choices,
    )
    assert type(found.value) is type(expected.value)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert not expected.step or found.step == expected.step


def test_a_fraction_moves_on_the_logit_scale() -> None:
    knob = knobs("x = 0.7")["x"]
    assert knob.step == "logit"
    assert 0.1 < knob.low < 0.11
    assert 0.97 < knob.high < 0.99
    assert knob.place(0.7) == pytest.approx(0.5, abs=1e-3)  # the ends have four digits
    assert knob.at(knob.place(0.3)) == pytest.approx(0.3)
    assert knob.stepped(0.7, -1) == pytest.approx(0.4619, abs=1e-3)
    assert knob.stepped(0.7, 50) == pytest.approx(knob.high, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [(0.3, 0.02089, 0.8959), (0.7, 0.1041, 0.9791), (0.99999, 0.9998, 0.9999995), (1.3, 0.13, 13)],
)
def test_the_ends_of_a_range_are_short_numbers(value: float, low: float, high: float) -> None:
    knob = knobs(f"x = {value}")["x"]
    assert knob.low == low
    assert knob.high == pytest.approx(high, abs=1e-7)
    assert knob.high < 1 or value > 1


def test_single_steps_fit_the_kind_of_a_value() -> None:
    found = knobs(
        "a = 8\nb = 100\nc = 2**10\nd = 1e-3\ne = [[0.5, 0.0], [2.0, -1.0]]\nnp.pad(x, n, mode='edge')\ng = 1e-4\n"
    )
    assert [found["a"].stepped(8, steps) for steps in (-1, 1, 2)] == [7, 9, 10]
    assert [found["b"].stepped(100, steps) for steps in (-1, 1)] == [50, 200]
    assert [found["c"].stepped(1024, steps) for steps in (-1, 0.4, 1)] == [512, 1024, 2048]
    assert [found["d"].stepped(1e-3, steps) for steps in (-1, 2)] == pytest.approx([5e-4, 4e-3])
    assert [found["e[0][1]"].stepped(0.0, steps) for steps in (-1, 1, 2)] == pytest.approx([-0.2, 0.2, 0.4])
    assert found["mode"].stepped("edge", 1) == "symmetric"
    annotated = knobs("X = 3  # mesh: 1..6\nY = 0.2  # mesh: 0..1\n")
    assert annotated["X"].stepped(3, -1) == 2
    assert annotated["Y"].stepped(0.2, 1) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("source", "name", "why"),
    [
        ("y = x[3]", "y", "index"),
        ("y = x[i + 9]", "y", "index"),
        ("y = x[:, 2:]", "y[1]", "index"),
        ("y = x ** 2", "y", "exponent"),
        ("y = 1 - x", "y", "complement"),
        ("y = 1.0 - x", "y", "complement"),
        ("y = np.zeros((5, n))", "y[0]", "shape"),
        ("y = np.zeros(7)", "y", "shape"),
        ("y = x.reshape(-1, 4)", "y#2", "shape"),
        ("y = x.mean(1)", "y", "axis"),
        ("y = x.mean(axis=1)", "axis", "axis"),
        ("y = np.pad(x, (0, n))", "y[0]", "zero of a tuple"),
        ("for i in range(20): pass", "range", "range"),
        ("np.random.seed(42)", "seed", "seed"),
        ("rng = np.random.default_rng(0)", "rng", "seed"),
        ("f(random_state=7)", "random_state", "seed"),
        ("rng = 42", "rng", "seed"),
        ("q = qmc.Sobol(d=n, rng=5)", "rng", "seed"),
        ("s = np.random.RandomState(3)", "s", "seed"),
        ("def f(x, my_rng=9): pass", "f.my_rng", "seed"),
        ("u = random.Random(5)", "u", "seed"),
        ("g = np.random.Generator(np.random.PCG64(11))", "g", "seed"),
        ("def f(seed=3): pass", "f.seed", "seed"),
        ("__version__ = 3", "__version__", "version"),
        ("print(x * 100)", "print", "message"),
        ("raise ValueError(x, 5)", "ValueError", "message"),
        ("assert x < 5", "assert.x", "message"),
        ("if step % 100 == 0:\n    print(step)", "if.step", "printed"),
        ("def visualize(x):\n    return x * 3.0", "visualize.return.x", "printed"),
        ("if kind == 3: pass", "if.kind", "case"),
        ("if len(x) > 1: pass", "if", "case"),
        ("y = i % 2", "y", "parity"),
        ("n = 0.0\nfor i in x:\n    n += 1\n", "n", "counter"),
        ("n = 0\nfor i in x:\n    n += 1\n", "n#2", "counter"),
        ("def f():\n    found = False\n    if x:\n        found = True\n", "f.found", "counter"),
        ("def f():\n    return True", "f.return", "verdict"),
        ("def is_solution(x):\n    return abs(x) < 0.5", "is_solution.return", "judge"),
        ("def validate_packing(x, tolerance=0.5): pass", "validate_packing.tolerance", "judge"),
        ("def _near(x):\n    return x < 0.5\ndef check(x):\n    return _near(x)", "_near.return.x", "judge"),
        ("class Task:\n    def evaluate(self):\n        return x * 3.0", "Task.evaluate.return.x", "judge"),
        ('def pack_26():\n    """Place 26 discs."""\n    n = 26\n', "pack_26.n", "size"),
        ("@njit(fastmath=True, level=3)\ndef f(): pass", "level", "decorator"),
        ("x: Array[3] = f()", "x", "annotation"),
        ("x = {3: y}", "x", "key"),
        ("x = Vector(0, y)", "x", "zero"),
        ("def main():\n    return 0 if done else 1", "main.return#2", "verdict"),
        ("def calculate_score(x):\n    return x * 0.25", "calculate_score.return.x", "judge"),
        ("if step % 100 == 0:\n    m = f(step)\n    print(m)", "if.step", "printed"),
        ("x = (n, 0)", "x[1]", "zero of a tuple"),
        ("i = rng.integers(0, n)", "i", "index"),
        ("def f(x):\n    best = -1\n    for i in x: best = i\n    assert best != -1\n", "f.best", "case"),
        ("def f(x):\n    kind = 3\n    if x: kind = g(x)\n    return kind == 3\n", "f.kind", "case"),
        ("share = 100 * done\nprint(f'{share}')", "share", "printed"),
        ("ema = 0.9\nmean = ema * mean + x\nprint(mean)", "ema", "printed"),
        ("if step > 10:\n    training_time += dt", "if.step", "judge"),
        ("while step < 5 or elapsed < LIMIT: pass", "while.step", "judge"),
    ],
)
def test_what_is_not_worth_a_trial_is_no_knob(source: str, name: str, why: str) -> None:
    assert reason(source, name) == why
    assert name not in knobs(source)


def test_what_only_begins_like_a_seed_is_a_knob() -> None:
    found = knobs("rng_scale = 0.5\nstring = 40\nx = rng.normal(0.0, 3.5)\ny = rng.random() * 2.5\n")
    assert {"rng_scale", "string", "x#2", "y"} <= found.keys()


def test_a_function_that_others_call_too_does_not_judge() -> None:
    source = "def near(x):\n    return x < 0.5\ndef check(x):\n    return near(x)\ndef run(x):\n    return near(x)\n"
    assert names(source) == ["near.return.x"]


def test_a_name_that_is_asked_for_another_number_is_a_knob() -> None:
    assert names("def f(x):\n    width = 30\n    return g(x, width) if width != 5 else x\n") == ["f.width"]
    assert names("def f(x):\n    width = 30\n    return g(x, width)\ndef h(width):\n    return width == 30\n") == [
        "f.width"
    ]


def test_a_name_that_is_used_otherwise_too_is_not_only_printed() -> None:
    assert names("a = 0.9\nprint(a)\nx = f(a)\n") == names("a = 0.9\n") == ["a"]


def test_strings_docstrings_and_text_in_f_strings_are_no_knobs() -> None:
    source = '"""Doc."""\nx = "word"\ny = f"{3:>10} {4.5}"\nz = b"1"\nif mode == "edge": pass\nw = None\nv = 1j\n'
    assert knobs(source) == {}


@pytest.mark.parametrize(
    ("source", "choices"),
    [
        ("y = np.pad(x, 2, mode='reflect')", ("reflect", "edge", "symmetric", "wrap", "constant")),
        ("def f(kind: Literal['a', 'b'] = 'a'): pass", ("a", "b")),
        ("kind = 'a'  # one of: a, b, c", ("a", "b", "c")),
        ("kind = 'relu'  # relu | gelu | silu", ("relu", "gelu", "silu")),
        ("kind = 'a'  # Or 'b', 'c'", ("a", "b", "c")),
        ("# 'slow' or 'fast'\nkind = 'slow'", ("slow", "fast")),
        ('def f(kind="a"):\n    """Do.\n\n    kind: ("a" or "b")\n    """', ("a", "b")),
        ("p.add_argument('--kind', default='a', choices=['a', 'b'])", ("a", "b")),
        ("x = y.astype(np.float64)", ("float64", "float32")),
        ("x = np.zeros(n, dtype='float32')", ("float64", "float32")),
    ],
)
def test_a_word_of_a_known_set_is_a_knob_with_these_choices(source: str, choices: tuple[str, ...]) -> None:
    [found] = [knob for knob in find_knobs("t.py", source) if isinstance(knob.value, str)]
    assert found.choices == choices
    for word in choices:
        after = edit(source, {found.name: word})
        assert knobs(after)[found.name].value == word


def test_a_method_of_scipy_is_one_of_its_methods() -> None:
    found = knobs("r = minimize(f, x0, method='SLSQP', options={'maxiter': 1000, 'ftol': 1e-9})\n")
    assert "trust-constr" in found["method"].choices
    assert list(found) == ["method", "maxiter", "ftol"]


def test_the_option_of_a_parser_and_the_default_of_get_are_named_by_their_words() -> None:
    assert names("p.add_argument('--learning-rate', '-l', default=0.1)\nx = config.get('depth', 6)\n") == [
        "learning-rate",
        "depth",
    ]


def test_only_the_marked_region_has_knobs() -> None:
    source = "a = 0.5\n# EVOLVE-BLOCK-START\nb = 0.5\n# EVOLVE-BLOCK-END\nc = 0.5\nD = 7\n"
    assert names(source) == ["b"]
    assert names(source.replace("# EVOLVE", "#EVOLVE")) == ["b"]


def test_an_edit_spells_powers_signs_and_types_as_they_stood() -> None:
    assert edit("x = 2**19\n", {"x": 2**18}) == "x = 2**18\n"
    assert edit("x = 2 ** 19  # a\n", {"x": 2**20}) == "x = 2 ** 20  # a\n"
    assert edit("x = 2**19\n", {"x": 1000}) == "x = 1000\n"
    assert edit("y = 5 ** n - 3\n", {"y": -2, "y#2": -4}) == "y = (-2) ** n - (-4)\n"
    assert edit("y = [-0.5, 1]\n", {"y[0]": 0.25, "y[1]": 1.5}) == "y = [0.25, 1.5]\n"
    assert edit("z = np.float64(x) * f('a', \"b\")\n", {"z": "float32"}) == "z = np.float32(x) * f('a', \"b\")\n"


def test_equal_numbers_of_one_function_are_tied() -> None:
    source = "def f(n):\n    a = 16 * n\n    for i in range(16):\n        b = 0.7\n    return a * 0.7\n"
    source += "def g():\n    c = 16\n"
    found = knobs(source)
    assert found["f.a"].tie == ("f.a", "f.range")
    assert found["f.b"].tie == found["f.return.a"].tie == ("f.b", "f.return.a")
    assert found["g.c"].tie == ()
    assert "f.range" not in found
    assert edit(source, dict.fromkeys(found["f.a"].tie, 17)) == source.replace("16 * n", "17 * n").replace(
        "(16)", "(17)"
    )


def test_parameters_come_before_parts_of_expressions_and_units_last() -> None:
    found = knobs("W = 8\ndef f(a=0.3):\n    b = x * 0.2 + 2 * np.pi\n    return max(1, y) + 1e-9 + g(flag=True)\n")
    order = [(name, knob.priority) for name, knob in found.items()]
    assert order == [("W", 0), ("f.a", 1), ("f.b", 2), ("f.b#2", 3), ("f.max", 3), ("f.return", 3), ("f.flag", 3)]


def test_a_long_table_is_data_and_deep_code_is_no_trouble() -> None:
    assert knobs(f"x = [{', '.join(['0.5'] * 301)}]") == {}
    assert len(knobs(f"x = [{', '.join(['0.5'] * 300)}]")) == 300
    assert knobs("x = " + " + ".join(["y"] * 900) + " + 0.5\nW = 8\n")["W"].value == 8


def test_ranges_in_comments_decide_what_is_a_knob_unless_literals_are_asked_for() -> None:
    source = "W = 8\ndef f(a=0.3):\n    b = x * 0.2  # mesh: 0..1\n    return b * 0.9\n"
    assert list(knobs(source, KnobsSpec())) == ["W", "f.b"]
    assert list(knobs(source, KnobsSpec(literals=True))) == ["W", "f.a", "f.b", "f.return.b"]
    assert list(knobs(source.replace("  # mesh: 0..1", ""), KnobsSpec(literals=False))) == ["W"]
    both = {"a.py": source.encode(), "b.py": b"def g(c=0.4): pass\nV = 3\n"}
    assert [knob.name for knob in knobs_of(both, ["a.py", "b.py"])] == ["W", "f.b", "V"]


def test_a_comment_gives_any_literal_its_range() -> None:
    found = knobs(
        "for i in range(20):  # mesh: 5..50\n    y = f(a, 0.1, x[3])  # mesh: 0..1\n    z = 2  # mesh: fixed\n"
    )
    assert {name: (knob.low, knob.high) for name, knob in found.items()} == {"range": (5, 50), "y": (0, 1)}
    assert knobs("def check(x):\n    return x < 0.5  # mesh: 0..1\nf(seed=3)  # mesh: 1..9\n") == {}


def test_patterns_and_bounds_of_the_arena_choose_knobs() -> None:
    source = "def train(lr=0.1, depth=4):\n    for i in range(30):\n        x = x * 0.5\n\ndef other(lr=0.2): pass\n"
    assert list(knobs(source, KnobsSpec(include=("train.*",)))) == ["train.lr", "train.depth", "train.x"]
    assert list(knobs(source, KnobsSpec(exclude=("*.lr", "t.py:train.x")))) == ["train.depth"]
    assert list(knobs(source, KnobsSpec(include=("train.range", "other.lr")))) == ["train.range", "other.lr"]
    bounded = knobs(source, KnobsSpec(bounds={"*.lr": "1e-4..1e-1 log", "train.depth": "fixed"}))
    assert (bounded["train.lr"].low, bounded["train.lr"].high, bounded["train.lr"].log) == (1e-4, 1e-1, True)
    assert bounded["other.lr"].low == 1e-4
    assert "train.depth" not in bounded
    assert list(knobs(source, KnobsSpec(bounds={"train.*": "0..1"}))) == [
        "train.lr",
        "train.depth",
        "train.x",
        "other.lr",
    ]
    assert knobs(source, KnobsSpec(bounds={"train.range": "5..50"}))["train.range"].high == 50
    assert list(knobs("p = [0.5, [0.25]]", KnobsSpec(include=("p[1]*",)))) == ["p[1][0]"]
