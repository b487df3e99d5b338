"""Knobs are found by the syntax of a file, and turned without touching any other byte of it."""

import ast
import math
import random

import pytest

from agents.critique.fingerprint import Fingerprint, fingerprint
from mesh.events import Scalar
from mesh.knobs import Knob, edit, find_knobs, knobs_of, steady
from mesh.spec import KnobsSpec

SEEDS = range(200)


def knob(source: str) -> Knob:
    """The one knob of a source."""
    [found] = find_knobs("t.py", source)
    return found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("X = 3  # mesh: 1..6", Knob(file="t.py", name="X", value=3, low=1, high=6)),
        ("X: int = 3  # mesh: 1..6", Knob(file="t.py", name="X", value=3, low=1, high=6)),
        ("X = 3  # mesh: 1..6 layers", Knob(file="t.py", name="X", value=3, low=1, high=6)),
        ("X = 1_000  # mesh: 1e2..1e4 log", Knob(file="t.py", name="X", value=1000, low=100, high=10_000, log=True)),
        ("X = 1e-3  # mesh: 1e-4..3e-2 log", Knob(file="t.py", name="X", value=0.001, low=1e-4, high=0.03, log=True)),
        ("X = -2  # mesh: -5..-1", Knob(file="t.py", name="X", value=-2, low=-5, high=-1)),
        ("X = -0.5  # mesh: -1..1", Knob(file="t.py", name="X", value=-0.5, low=-1, high=1)),
        ("X = 0.0  # mesh: 0.0..0.98", Knob(file="t.py", name="X", value=0.0, low=0, high=0.98)),
        ("X = (0.5)  # mesh: 0..1", Knob(file="t.py", name="X", value=0.5, low=0, high=1)),
        ("X = 0.5  # mesh: -1..1 log", Knob(file="t.py", name="X", value=0.5, low=-1, high=1)),
        ("X = True", Knob(file="t.py", name="X", value=True, choices=(False, True))),
        ("X = 16  # mesh: choices 8 16 32", Knob(file="t.py", name="X", value=16, choices=(8, 16, 32))),
        ("X = 'a'  # mesh: choices a, b", Knob(file="t.py", name="X", value="a", choices=("a", "b"))),
        ("X = 'a'  # mesh: choices 'a' 0.5", Knob(file="t.py", name="X", value="a", choices=("a", 0.5))),
        ("X = 8", Knob(file="t.py", name="X", value=8, low=2, high=32, log=True)),
        ("X = 1", Knob(file="t.py", name="X", value=1, low=1, high=4, log=True)),
        ("X = 0.5", Knob(file="t.py", name="X", value=0.5, low=0.05, high=1, log=True)),
        ("X = 3.0", Knob(file="t.py", name="X", value=3.0, low=0.3, high=30, log=True)),
    ],
)
def test_a_constant_and_its_comment_make_a_knob(line: str, found: Knob) -> None:
    assert knob(f'"""Doc."""\nimport os\n{line}\n') == found


@pytest.mark.parametrize("line", ["X = 0  # mesh: 0.0..0.5", "X = 1  # mesh: 0.1..3.0 log", "X = 1  # mesh: 1e-1..3"])
def test_a_whole_number_with_a_range_of_fractions_is_a_fraction(line: str) -> None:
    assert isinstance(knob(line).value, float)
    assert not float(knob(line).sample(random.Random(1))).is_integer()


@pytest.mark.parametrize(
    "line",
    [
        "x = 1",
        "Lr = 1",
        "_X = 1",
        "X = 1 + 1",
        "X = Y",
        "X = None",
        "X = (1, (2, 3))",
        "X = (1, None)",
        "X = (0.1,) * 2",
        "X = ()",
        "X = (1,\n  2)",
        "X = (1, 2, 3, 4, 5, 6, 7, 8, 9)",
        "X = (1, 2)  # mesh: fixed",
        "X = 1, 2\nX = 3",
        "X = 1, 2\nX = 3, 4",
        "SEEDS = 1, 2, 3",
        "X, Y = (1, 2), (3, 4)",
        "X = [1]",
        "X = 'a'",
        "X = f'{1}'",
        "X = 1j",
        "X, Y = 1, 2",
        "X = Y = 1",
        "X += 1",
        "X: int",
        "if True:\n    X = 1",
        "def f():\n    X = 1",
        "SEED = 1",
        "DATA_SEED = 1  # mesh: 1..6",
        "X = 1  # mesh: fixed",
        "X = True  # mesh: fixed",
        "X = 0",
        "X = -1.0",
        "X = 1e999",
        "X = 1" + "0" * 400,
        "X = 5  # mesh: 6..1",
        "X = 5  # mesh: low..high",
        "X = 5  # mesh: 0..inf",
        "X = 5  # mesh: nan..1",
        "X = 'a'  # mesh: choices a",
        "X = 1\nX = 2",
        "X = '''a\nb'''  # mesh: choices a b",
        "X = 1 +",
        "X = 1\n\0",
        "X = " + "(" * 5000 + "1" + ")" * 5000,
        "X = " + "-" * 20_000 + "1",
        "",
    ],
)
def test_what_is_no_constant_or_has_no_range_is_no_knob_where_literals_are_off(line: str) -> None:
    assert find_knobs("t.py", line, KnobsSpec(literals=False)) == []


def test_each_element_of_a_tuple_is_a_knob_of_its_own() -> None:
    assert find_knobs("t.py", "BETAS = (0.9, 0.95)  # mesh: 0.5..0.999\nSIZES = 0, 8, True, 'a'\n") == [
        Knob(file="t.py", name="BETAS[0]", value=0.9, low=0.5, high=0.999),
        Knob(file="t.py", name="BETAS[1]", value=0.95, low=0.5, high=0.999),
        Knob(file="t.py", name="SIZES[1]", value=8, low=2, high=32, log=True),
        Knob(file="t.py", name="SIZES[2]", value=True, choices=(False, True)),
    ]
    assert [k.name for k in find_knobs("t.py", "ACTS: tuple[str, str] = ('a', 'b')  # mesh: choices a b")] == [
        "ACTS[0]",
        "ACTS[1]",
    ]


def test_an_edit_of_an_element_leaves_the_others_and_the_layout() -> None:
    source = "BETAS = ( 0.9 ,(0.95),)  # mesh: 0.5..0.999\nX = 1\n"
    assert edit(source, {"BETAS[1]": 0.9875, "X": 2}) == "BETAS = ( 0.9 ,(0.9875),)  # mesh: 0.5..0.999\nX = 2\n"
    assert edit(source, {"BETAS[0]": 0.5, "BETAS[1]": 0.6}) == source.replace("0.9 ", "0.5 ").replace("0.95", "0.6")
    with pytest.raises(KeyError, match="BETAS"):
        edit(source, {"BETAS[2]": 1.0})


def test_code_that_differs_in_an_element_alone_is_near_by_that_knob() -> None:
    def of(line: str) -> Fingerprint:
        return fingerprint({"t.py": f"{line}\n".encode()}, ["t.py"])

    here = of("BETAS = (0.9, 0)  # mesh: fixed"), of("BETAS = (0.9, 0)")
    assert not here[0].is_near(of("BETAS = (0.901, 0)  # mesh: fixed"), 0.01)
    assert here[1].is_near(of("BETAS = (0.901, 0)"), 0.01)
    assert not here[1].is_near(of("BETAS = (0.5, 0)"), 0.01)
    assert not here[1].is_near(of("BETAS = (0.901, -1)"), 0.01)


def test_a_guessed_range_stays_until_a_value_comes_near_its_end() -> None:
    first = find_knobs("t.py", "X = 8\nY = 0.5  # mesh: 0.1..1.0\n")
    assert steady(find_knobs("t.py", "X = 12\nY = 0.9  # mesh: 0.1..1.0\nZ = 3\n"), first) == [
        Knob(file="t.py", name="X", value=12, low=2, high=32, log=True),
        Knob(file="t.py", name="Y", value=0.9, low=0.1, high=1.0),
        Knob(file="t.py", name="Z", value=3, low=1, high=12, log=True),
    ]
    for line in ("X = 30", "X = 200", "X = 12  # mesh: 1..99", "X = 1.5", "X = True"):
        assert steady([knob(line)], first) == [knob(line)]


def test_knobs_come_in_the_order_of_their_lines_and_files() -> None:
    files = {"b.py": b"Z = 1\nA = 2\n", "a.py": b"X = 3\n", "c.txt": b"C = 1\n", "d.py": b"D = 4\n"}
    found = knobs_of(files, ["b.py", "c.txt", "missing.py", "a.py"])
    assert [(k.file, k.name) for k in found] == [("b.py", "Z"), ("b.py", "A"), ("a.py", "X")]


def test_a_file_that_is_not_utf_8_has_no_knobs() -> None:
    assert knobs_of({"t.py": "# -*- coding: latin-1 -*-\nX = 1  # ü\n".encode("latin-1")}, ["t.py"]) == []


@pytest.mark.parametrize(
    "before", ["", "é = 'ü'; ", "Y = '→'\n", "# \x0c \x1c \u2028 \x85\n", "Y = '\u2028'; ", "\x0c\n", "a = 1\\\n\n"]
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_an_edit_replaces_the_literal_alone(before: str, line_end: str) -> None:
    lines = before + "X  =  1e-3   # mesh: 1e-4..1 log — größer\nY = 2 ;Z=3\n\n\n"
    source = lines.replace("\n", line_end)
    [x] = [k for k in find_knobs("t.py", source) if k.name == "X"]
    assert (x.value, x.low, x.high, x.log) == (0.001, 1e-4, 1, True)
    assert edit(source, {"X": 0.02, "Z": -4}) == source.replace("1e-3", "0.02").replace("Z=3", "Z=-4")


@pytest.mark.parametrize(
    ("source", "value", "after"),
    [
        ("X = 1", -2, "X = -2"),
        ("X = -1", 2, "X = 2"),
        ("X = 1.5", 1e-05, "X = 1e-05"),
        ("X = 0x10", 17, "X = 17"),
        ("X = True", False, "X = False"),
        ('X = "a"', "b", 'X = "b"'),
        ("X = 'a'", "b", "X = 'b'"),
        ('X = "a"', 'é"\\', 'X = "é\\"\\\\"'),
        ('X = "a"', "\n\x7f", 'X = "\\n\\x7f"'),
        ("X = 'a'", "'", "X = '\\''"),
        ("X = r'a'", "b", "X = 'b'"),
        ("X = (1)", 2, "X = (2)"),
        ("X: int=1", 2, "X: int=2"),
        ("X = 1; X = 2", 3, "X = 3; X = 3"),
        ("X = \\\n  1  # no\n", 2, "X = \\\n  2  # no\n"),
        ("X = 1", 1, "X = 1"),
    ],
)
def test_a_value_is_spelled_as_python_and_in_the_quotes_that_were_there(source: str, value: Scalar, after: str) -> None:
    assert edit(source, {"X": value}) == after


def test_several_constants_on_one_line_are_edited_at_once() -> None:
    assert edit("X = 10; Y = 2; Z = 3", {"X": 5, "Y": 777, "Z": 4}) == "X = 5; Y = 777; Z = 4"


@pytest.mark.parametrize("source", ["Y = 1", "X = (1, 2)", "X = 1 +", "def f():\n    X = 1"])
def test_a_constant_that_is_not_there_cannot_be_edited(source: str) -> None:
    with pytest.raises(KeyError, match="X"):
        edit(source, {"X": 1})


LETTERS = "aZ09 '\"\\{}#%\t\n\x00\x0c\x1b\x85éß\u2028\ud7ff\ufeff\U0001f600"
FLOATS = (0.0, -0.0, 1e-300, -1e300, 0.1, 2.0**60, 5e-324, 1 / 3)


def anything(rng: random.Random) -> Scalar:
    """A value of any kind, from the corners more often than not."""
    text = "".join(rng.choices(LETTERS, k=rng.randrange(8)))
    number = rng.choice([rng.choice(FLOATS), rng.uniform(-1e6, 1e6)])
    whole = rng.choice([0, -1, 2**53, -(2**53), rng.randrange(10**6)])
    kinds: tuple[Scalar, ...] = (whole, number, rng.random() < 0.5, text)
    return rng.choice(kinds)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_is_written_is_read_back_and_the_rest_stays(seed: int, line_end: str) -> None:
    rng = random.Random(seed)
    noise = "".join(rng.choices(LETTERS.replace("\n", "").replace("\0", ""), k=rng.randrange(10)))
    names = rng.sample(["A", "B", "LONG_NAME"], rng.randrange(1, 4))
    values = {name: anything(rng) for name in names}
    source = line_end.join([f"# {noise}", "A = 1  # a", "B = 'b'; é = 'ü'", f"LONG_NAME: float = -1.5  # {noise}", ""])
    after = edit(source, values)
    read = {n.id: node for node in ast.parse(after).body for n in ast.walk(node) if isinstance(n, ast.Name)}
    for name, value in values.items():
        statement = read[name]
        assert isinstance(statement, ast.Assign | ast.AnnAssign)
        assert statement.value is not None
        assert ast.literal_eval(statement.value) == value
    assert edit(after, {"A": 1, "B": "b", "LONG_NAME": -1.5}) == edit(source, {"A": 1, "B": "b", "LONG_NAME": -1.5})


RANGES = [
    "X = 3  # mesh: 1..6",
    "X = 3  # mesh: 3..4",
    "X = -2  # mesh: -5..-1",
    "X = 1000  # mesh: 8..512 log",
    "X = 0.0  # mesh: 0.0..0.98",
    "X = 0.95  # mesh: 0.9..0.99999",
    "X = 0.5  # mesh: 0.33333..0.66666",
    "X = 1e-3  # mesh: 1e-4..3e-2 log",
    "X = 0.0  # mesh: 1e-6..1e-2 log",
    "X = 8",
    "X = 0.02",
    "X = True",
    "X = 16  # mesh: choices 8 16 32",
]


@pytest.mark.parametrize("line", RANGES)
def test_draws_and_steps_stay_in_the_range_and_keep_the_type(line: str) -> None:
    x = knob(line)
    for seed in SEEDS:
        rng = random.Random(seed)
        stepped = x.mutate(x.value, rng)
        for new in (x.sample(rng), stepped):
            assert type(new) is type(x.value)
            assert new in x.choices if x.choices else x.low <= float(new) <= x.high
        assert stepped != x.value


def test_the_same_seed_draws_the_same() -> None:
    x = knob("X = 1e-3  # mesh: 1e-4..3e-2 log")
    assert [x.sample(random.Random(s)) for s in SEEDS] == [x.sample(random.Random(s)) for s in SEEDS]
    assert len({x.sample(random.Random(s)) for s in SEEDS}) > 150


def test_whole_numbers_are_drawn_evenly_and_both_ends_are_reached() -> None:
    x, rng = knob("X = 3  # mesh: 1..4"), random.Random(1)
    drawn = [x.sample(rng) for _ in range(4000)]
    assert all(850 < drawn.count(value) < 1150 for value in (1, 2, 3, 4))


def test_a_log_range_is_drawn_evenly_in_its_logarithm() -> None:
    x, rng = knob("X = 1e-3  # mesh: 1e-4..1 log"), random.Random(1)
    drawn = [float(x.sample(rng)) for _ in range(4000)]
    assert all(850 < sum(10**-d <= v < 10 ** (1 - d) for v in drawn) < 1150 for d in (1, 2, 3, 4))


def test_a_step_is_small_beside_the_range() -> None:
    x, rng = knob("X = 1e-2  # mesh: 1e-4..1 log"), random.Random(1)
    steps = [abs(math.log10(float(x.mutate(0.01, rng))) + 2) for _ in range(1000)]
    assert 0.4 < sorted(steps)[500] < 0.7  # the median of a normal that is 0.2 x 4 decades wide


def test_a_value_has_its_place_in_the_range() -> None:
    x, y = knob("X = 1e-2  # mesh: 1e-4..1 log"), knob("X = 1.0  # mesh: -1..3")
    assert [round(x.place(v), 9) for v in (0.0, 1e-4, 1e-2, 1, 5)] == [0, 0, 0.5, 1, 1]
    assert [y.place(v) for v in (-2, -1, 1, 3, 4)] == [0, 0, 0.5, 1, 1]
    assert (x.at(0.5), y.at(0.5), x.at(-1), y.at(2)) == (0.01, 1, 1e-4, 3)


def test_what_sets_the_task_is_a_knob_only_where_somebody_says_so() -> None:
    python = b"RANDOM_STATE = 42\nTEST_SIZE = 0.3\nval_split = 0.1\nREPEATS = 3\nN_TREES = 50\nREPLICAS = 4\n"
    code = b"#define REPEATS 3\n#define BLOCK 32\n"
    assert [knob.name for knob in knobs_of({"a.py": python}, ["a.py"])] == ["N_TREES", "REPLICAS"]
    assert [knob.name for knob in knobs_of({"mm.c": code}, ["mm.c"])] == ["BLOCK"]
    options = (
        b'p.add_argument("--test-size", type=float, default=0.3)\np.add_argument("--depth", type=int, default=7)\n'
    )
    assert [knob.name for knob in knobs_of({"a.py": options}, ["a.py"])] == ["depth"]
    folds = b"def main():\n    a = cross_val_score(clf, X, y, cv=5)\n    b = KFold(n_splits=5)\n    c = fit(depth=5)\n"
    assert [knob.name for knob in knobs_of({"a.py": folds}, ["a.py"])] == ["main.depth"]
    asked = python.replace(b"TEST_SIZE = 0.3", b"TEST_SIZE = 0.3  # mesh: 0.1..0.5")
    assert "TEST_SIZE" in [knob.name for knob in knobs_of({"a.py": asked}, ["a.py"])]
    rules = KnobsSpec(include=("REPEATS", "RANDOM_STATE"))
    assert [knob.name for knob in knobs_of({"a.py": python}, ["a.py"], rules)] == ["REPEATS"]


CONFIG = """
@dataclass
class Config:
    width: int = 64
    depth: int = 12
    cap: float = 15.0

def build(config: Config) -> Net:
    return Net(config.width, config.depth, config.cap)

net = build(Config(WIDE, depth=DEEP))
"""


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("", ["cap"]),
        ("other = Config(8)\n", ["depth", "cap"]),
        ("other = Config(*sizes, depth=3)\n", ["width", "cap"]),
        ("class Larger(Config):\n    pass\n", ["width", "depth", "cap"]),
        ("make = Config\n", ["width", "depth", "cap"]),
    ],
)
def test_the_default_of_a_field_that_every_call_gives_is_no_knob(more: str, found: list[str]) -> None:
    names = [each.name for each in find_knobs("t.py", CONFIG + more)]
    assert [name.removeprefix("Config.") for name in names if name.startswith("Config.")] == found
    asked = CONFIG.replace("int = 64", "int = 64  # mesh: 8..256")
    assert "Config.width" in [each.name for each in find_knobs("t.py", asked)]


def test_a_constant_that_only_says_when_to_print_is_no_knob() -> None:
    loop = (
        "for step in range(STEPS):\n    loss = train(RATE)\n    if step % LOG_EVERY == 0:\n        print(step, loss)\n"
    )
    source = f"STEPS = 300\nRATE = 0.1\nLOG_EVERY = 10\n{loop}print(loss)\n"
    assert [each.name for each in find_knobs("t.py", source)] == ["STEPS", "RATE"]
    used = source + "save(loss, LOG_EVERY)\n"
    assert [each.name for each in find_knobs("t.py", used)] == ["STEPS", "RATE", "LOG_EVERY"]
    acts = source.replace("        print(step, loss)\n", "        print(step, loss)\n        decay()\n")
    assert [each.name for each in find_knobs("t.py", acts)] == ["STEPS", "RATE", "LOG_EVERY"]
    asked = source.replace("LOG_EVERY = 10", "LOG_EVERY = 10  # mesh: 1..100")
    assert "LOG_EVERY" in [each.name for each in find_knobs("t.py", asked)]


def test_what_a_name_calls_a_share_does_not_become_one_or_more() -> None:
    source = "ADAM_BETAS = (0.8, 0.95)\nDROPOUT = 0.2\nRATE = 0.2\nSUBSAMPLE = 1.0\n"
    source += "fit(subsample=1.0, momentum=0.04, rate=1.0)\n"
    highs = {knob.name: knob.high for knob in find_knobs("train.py", source)}
    assert {name: high for name, high in highs.items() if high < 1} == {
        "ADAM_BETAS[0]": pytest.approx(0.9877, abs=1e-4),
        "ADAM_BETAS[1]": pytest.approx(0.9974, abs=1e-4),
        "DROPOUT": pytest.approx(0.8339, abs=1e-4),
        "momentum": pytest.approx(0.4556, abs=1e-4),
    }
    assert {name: high for name, high in highs.items() if high >= 1} == {
        "RATE": 1.0, "SUBSAMPLE": 1.0, "subsample": 1.0, "rate": 10.0,
    }  # fmt: skip
