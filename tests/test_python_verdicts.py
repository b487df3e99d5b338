"""What decides in a program whether its result is good is turned only where somebody asks for it."""

import pytest

from mesh.knobs import Knob, find_knobs
from mesh.literals import literals_of
from mesh.spec import KnobsSpec

ALL = KnobsSpec(literals=True)


def knobs(source: str, rules: KnobsSpec = ALL) -> dict[str, Knob]:
    """The knobs of a source by their names."""
    return {knob.name: knob for knob in find_knobs("t.py", source, rules)}


@pytest.mark.parametrize(
    "body",
    [
        "correct = score >= 40.5",
        "is_valid = all_in and worst < 40.5",
        "if d < 40.5: self.collision_count += 1",
        "near = 40.5\n    for d in ds:\n        if d < near:\n            violations += 1",
        "ok_at: float = 2.5\n    limit = 40.5\n    feasible: bool = ok_at < limit and ok_at != limit",
    ],
)
def test_what_decides_whether_a_result_is_good_is_turned_only_where_it_is_asked_for(body: str) -> None:
    source = f"def run(ds, d, self, score, worst, all_in):\n    {body}\n    return ds\n"
    [literal] = [each for each in literals_of("t.py", source) if each.value == 40.5]
    assert literal.excluded == "verdict"
    assert literal.name not in knobs(source)
    assert literal.name in knobs(source, KnobsSpec(literals=True, include=(literal.name,)))


@pytest.mark.parametrize(
    "body",
    [
        "if d < 40.5: count += 1",
        "if d < 40.5:\n        collisions += 1\n        d = g(d)",
        "near = 40.5\n    if d < near: collisions += 1\n    d = move(d, near)",
        "converged = d < 40.5",
        "valid = place(40.5)",
    ],
)
def test_a_number_that_also_does_something_else_is_still_a_knob(body: str) -> None:
    assert 40.5 in [
        each.value for each in knobs(f"def run(d, count, collisions):\n    {body}\n    return d\n").values()
    ]


SOLVER = """LIMIT = 0.25
WIDTH = 0.35


class Solver:
    steps: int = 40
    order: int = 3

    def __init__(self, tol=1e-5, rate=0.45):
        self.mode = "wrap"  # reflect | wrap
        self.tol, self.rate = tol, rate
        self.reach = 7.5

    def solve(self, x):
        return f(x, self.order, self.mode, self.steps, self.rate, self.reach, WIDTH)

    def is_solution(self, x, y):
        worst = np.abs(y - f(x, self.order, self.mode)).max()
        if worst > LIMIT:
            return False
        return worst < self.tol
"""


def test_what_a_function_reads_that_says_yes_or_no_is_no_knob() -> None:
    assert list(knobs(SOLVER)) == ["WIDTH", "Solver.steps", "Solver.__init__.rate", "Solver.__init__.reach"]
    asked = KnobsSpec(literals=True, include=("Solver.order", "LIMIT", "Solver.__init__.mode"))
    assert list(knobs(SOLVER, asked)) == ["LIMIT", "Solver.order", "Solver.__init__.mode"]
    ranged = SOLVER.replace("LIMIT = 0.25", "LIMIT = 0.25  # mesh: 0.1..0.5")
    assert "LIMIT" in knobs(ranged)


@pytest.mark.parametrize(
    "judge",
    [
        "def validate(model):\n    total = run(model, WIDTH, STEPS)\n    return total / STEPS\n",  # measures
        "def evaluate(x):\n    return x * WIDTH + STEPS\n",
        "def check(x):\n    WIDTH, STEPS = 1.5, 2.5\n    return x < WIDTH < STEPS\n",  # names of its own
        "def place(x):\n    return x < WIDTH and x < STEPS\n",  # judges nothing
    ],
)
def test_what_other_functions_read_is_a_knob(judge: str) -> None:
    assert list(knobs(f"WIDTH = 0.35\nSTEPS = 40\n\n\n{judge}"))[:2] == ["WIDTH", "STEPS"]


@pytest.mark.parametrize(
    "judge",
    [
        "def verify(x):\n    return x < WIDTH, 'too wide'\n",
        "def check(x):\n    if x > WIDTH:\n        return False\n    return True\n",
        "def validate(x, limit=WIDTH):\n    return bool(x < limit)\n",
        "def is_valid(x):\n    return np.allclose(x, 1, atol=WIDTH)\n",
        "def validate(x):\n    return near(x)\n\n\ndef near(x):\n    return not x > WIDTH\n",
    ],
)
def test_a_constant_by_which_a_program_judges_is_no_knob(judge: str) -> None:
    assert list(knobs(f"WIDTH = 0.35\nSTEPS = 40\n\n\n{judge}")) == ["STEPS"]


WORLD = """class Flock:
    speed: float = 4.5

    def __init__(self, width=800.5, height=600.5, count=50, turn=0.25):
        self.width, self.height, self.turn = width, height, turn
        self.reach = 7.5
        self.birds, self.hits = [], 0
        for _ in range(count):
            self.birds.append(Bird(uniform(0.5, width)))

    def step(self):
        move(self.birds, self.speed, self.turn, self.reach)

    def get_metrics(self):
        worst = max(bird.x for bird in self.birds) / self.width
        return {"spread": worst / (self.height + 1), "turn": self.turn, "hits": self.hits}


def main(parser):
    parser.add_argument("-b", "--birds-here", type=int, default=40)
    parser.add_argument("--steps", type=int, default=1000)
    args = parser.parse_args()
    run(Flock(count=args.birds_here, turn=args.steps))
"""


def test_the_world_that_a_program_measures_is_no_knob() -> None:
    behaviour = ["Flock.speed", "Flock.__init__.turn", "Flock.__init__.reach", "Flock.__init__.uniform", "main.steps"]
    assert list(knobs(WORLD)) == behaviour
    filled_at_once = WORLD.replace(
        "        for _ in range(count):\n            self.birds.append(Bird(uniform(0.5, width)))\n",
        "        self.birds = [Bird(uniform(0.5, width)) for _ in range(count)]\n",
    )
    assert "Flock.__init__.count" not in knobs(filled_at_once)
    asked = KnobsSpec(literals=True, include=("Flock.__init__.width", "main.birds-here"))
    assert list(knobs(WORLD, asked)) == ["Flock.__init__.width", "main.birds-here"]


def test_what_is_only_counted_or_passed_on_is_still_a_knob() -> None:
    nothing_measured = WORLD.replace("get_metrics", "describe")
    assert {"Flock.__init__.width", "Flock.__init__.count", "main.birds-here"} <= knobs(nothing_measured).keys()
    other_list = WORLD.replace("self.birds.append", "self.nests.append")
    assert "Flock.__init__.count" in knobs(other_list)


OWN_REFERENCE = """class Task:
    def _solve(self, problem):
        return solve_ivp(problem, method="RK45", rtol=1e-10, max_step=0.5)

    def solve(self, problem):
        return self._solve(problem) * 1.5

    def guess(self, problem):
        return problem * 2.5

    def is_solution(self, problem, solution):
        reference = self.solve(problem)
        return np.allclose(solution, reference)


def run_solver(problem):
    return Task().solve(problem)
"""


def test_a_program_that_compares_with_its_own_answer_has_no_knob_in_what_answers() -> None:
    assert list(knobs(OWN_REFERENCE)) == ["Task.guess.return.problem"]
    for judge in (
        "reference = self.solve(solution)",  # looks at what it judges
        "reference = other.solve(problem)",  # is not of this program
        "reference = problem",
    ):
        assert len(knobs(OWN_REFERENCE.replace("reference = self.solve(problem)", judge))) == 5
    one_thing = OWN_REFERENCE.replace("is_solution(self, problem, solution)", "is_solution(self, problem)")
    assert len(knobs(one_thing)) == 5
