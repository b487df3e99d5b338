"""A smaller problem is no gain: `mesh init` and `mesh check` name the knobs that set its size, and odd results show."""

import re
from pathlib import Path

import pytest

from agents.critic import Critic
from gateway.resolve import Named
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.arena import load_arena
from mesh.code import CodeStore
from mesh.events import CritiquePosted, RunFinished, Scored
from mesh.memory import MemoryBus
from mesh.size_names import changed_results, exact_number, is_result_name, is_size_name, steady_numbers
from mesh.steady_results import odd_champion
from mesh.testing import SPEC, Log, git_hash
from mesh.wire import Post
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about
from mesh_cli.setup.check_arena import check_arena
from mesh_cli.setup.check_oddities import check_warnings
from mesh_cli.setup.check_result import Checked
from mesh_cli.setup.init_arena import init_arena
from mesh_cli.setup.init_plan import InitWish
from tests.support.terminal import Terminal

MATRIX = r"""
#include <stdio.h>
#include <time.h>
#define N 240
#define BLOCK 16
static double a[N][N], b[N][N], c[N][N];
int main(void) {
    for (int i = 0; i < N * N; i++) { a[i / N][i % N] = i % 11; b[i / N][i % N] = i % 13; }
    clock_t begun = clock();
    for (int jj = 0; jj < N; jj += BLOCK)
        for (int i = 0; i < N; i++)
            for (int j = jj; j < jj + BLOCK && j < N; j++)
                for (int k = 0; k < N; k++) c[i][j] += a[i][k] * b[k][j];
    double sum = 0;
    for (int i = 0; i < N * N; i++) sum += c[i / N][i % N] * (i % 5);
    printf("checksum: %.0f\n", sum);
    printf("seconds: %.5f\n", (double)(clock() - begun) / CLOCKS_PER_SEC);
    return 0;
}
"""
MAKEFILE = "bench: matrix\n\t./matrix\nmatrix: matrix.c\n\tcc -O1 -o matrix matrix.c\n"
PRIMES = """
LIMIT = 60_000
STRIDE = 64

steps, primes = 0, 0
sieve = bytearray([1]) * LIMIT
for number in range(2, LIMIT):
    if sieve[number]:
        primes += 1
        for multiple in range(number * number, LIMIT, number):
            sieve[multiple] = 0
            steps += 1
print("stride", STRIDE)
print("primes:", primes)
print("steps:", steps)
"""
QUEUE = """
import json
settings = json.load(open("settings.json"))
work, seen = 0, 0
for request in range(settings["requests"]):
    work += settings["batch"] + request % 7
    seen += 1
print(json.dumps({"cost": work, "served": seen * 2}))
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own."""
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))


def folder_of(tmp_path: Path, files: dict[str, str]) -> Path:
    folder = tmp_path / "bench"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def without_bounds(folder: Path) -> None:
    """Take out what `mesh init` wrote about knobs, as somebody does who writes `arena.toml` by hand."""
    toml = folder / "arena.toml"
    toml.write_text(toml.read_text().partition("[knobs]")[0])


@pytest.mark.parametrize(
    ("name", "is_size"),
    [
        *((name, True) for name in ("N", "SIZE", "main.n_rows", "ITEMS", "LIMIT", "gridSize", "num_queries", "REPS")),
        *((name, False) for name in ("batch_size", "hidden_size", "n_estimators", "N_LAYERS", "EPOCHS", "lr", "BLOCK")),
    ],
)
def test_sizes_of_problems_are_told_from_sizes_of_methods_by_their_names(name: str, is_size: bool) -> None:
    assert is_size_name(name) == is_size


def test_results_are_told_from_times_and_scores_by_their_names() -> None:
    scores = [{"loss": 1.0, "checksum": 8123, "rows": 4, "rows_per_s": 3, "accuracy": 0.5, "sum": 0.1 + n / 10}
              for n in range(2)]  # fmt: skip
    assert steady_numbers(scores) == {"checksum": 8123, "rows": 4}
    assert steady_numbers(scores, but=("rows",)) == {"checksum": 8123}
    assert steady_numbers([]) == {}
    better = {"sum_radii": 0.96, "image_similarity": 0.5, "lines_covered": 1.0, "edges": 2.5, "checksum": 0.5}
    assert steady_numbers([better, better]) == {"checksum": 0.5}
    assert changed_results({"checksum": 8123, "rows": 4}, {"checksum": 0.1, "rows": 4}) == "checksum is 0.1, not 8123"
    assert not any(
        map(is_result_name, ("total_time", "sum_radii", "error_count", "num_params", "mean_of_rows", "per_item"))
    )
    assert [float(exact_number(value)) for value in (0.1, 3e22, -5.0, 1 / 3)] == [0.1, 3e22, -5.0, 1 / 3]


async def test_half_of_a_matrix_in_c_is_shown_with_time_and_checksum(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"matrix.c": MATRIX, "Makefile": MAKEFILE})
    said: list[str] = []
    init_arena(folder, InitWish(yes=True, budget_s=20.0), None, said.append)
    assert "  keeps     N  (it reads like the size of the problem: see [knobs])" in said
    toml = (folder / "arena.toml").read_text()
    assert 'bounds = {"N" = "fixed"}' in toml
    assert "# The run also prints checksum. If every candidate must give the same" in toml
    fixed = await check_arena(folder, device="cpu", slots=1)
    assert fixed.facts
    names = [knob.name for knob in fixed.facts.knobs]
    assert "BLOCK" in names
    assert "N" not in names
    assert fixed.sizes == ()
    [pin] = [sentence for sentence in check_warnings(fixed) if "all runs of the baseline gave checksum" in sentence]
    line = re.search(r'checksum = "== \d+"', pin)
    assert line
    without_bounds(folder)
    free = await check_arena(folder, device="cpu", slots=1)
    [tried] = free.sizes
    assert (tried.name, tried.old, tried.new, tried.results[0][0]) == ("N", 240, 120, "checksum")
    assert tried.score[1] < tried.score[0] / 2
    [sentence] = [sentence for sentence in check_warnings(free) if "looks like the size" in sentence]
    assert re.match(r"N 240 -> 120: seconds [\d.]+ -> [\d.]+, and checksum \d+ -> \d+: N looks like", sentence)
    assert line[0] in sentence
    pinned = (folder / "arena.toml").read_text().replace('direction = "minimize"', f'constraints = {{{line[0]}}}\n'
                                                         'direction = "minimize"')  # fmt: skip
    (folder / "arena.toml").write_text(pinned)
    held = await check_arena(folder, device="cpu", slots=1)
    assert held.sizes == (), "half of the problem is infeasible now"
    assert len(held.scores) == 2
    assert check_warnings(held) == []


async def test_a_python_program_that_counts_its_steps_wins_by_its_limit_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"primes.py": PRIMES})
    init_arena(folder, InitWish(yes=True, metric="steps", direction="minimize", budget_s=20.0), None, lambda line: None)
    without_bounds(folder)
    done = await check_arena(folder, device="cpu", slots=2)
    [tried] = done.sizes
    assert (tried.name, tried.new, [name for name, _, _ in tried.results]) == ("LIMIT", 30_000, ["primes"])


async def test_a_size_in_a_json_file_wins_upwards_where_more_is_better(tmp_path: Path) -> None:
    files = {"serve.py": QUEUE, "settings.json": '{"requests": 400, "batch": 32}'}
    folder = folder_of(tmp_path, files)
    wish = InitWish(
        yes=True, editable=("settings.json",), run="python serve.py", pattern=r'"cost": ([\d.]+)', metric="cost",
        direction="maximize", budget_s=20.0,
    )  # fmt: skip
    init_arena(folder, wish, None, lambda line: None)
    without_bounds(folder)
    done = await check_arena(folder, device="cpu", slots=2)
    [tried] = [each for each in done.sizes if each.name == "requests"]
    assert (tried.old, tried.new, tried.results) == (400, 800, (("served", 800, 1600),))


async def test_a_name_is_enough_for_a_warning_where_runs_are_long() -> None:
    from mesh_cli.setup.size_trials import SizeTried

    done = Checked("a", "seconds", (), (), exclusive=True, sizes=(SizeTried("n_rows", "a.py", 2000),))
    assert check_warnings(done) == [
        "n_rows = 2000 in a.py reads like the size of the problem, and a smaller one wins: keep it with the comment "
        '`mesh: fixed` in a.py, or with bounds = {"n_rows" = "fixed"} under [knobs]'
    ]


def test_the_terminal_asks_whether_sizes_and_results_stay_and_runs_once_for_the_results(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"matrix.c": MATRIX, "Makefile": MAKEFILE})
    options = ("--editable", "matrix.c", "--run", "make -s bench", "--budget", "20", "--metric", "seconds")
    with Terminal("init", str(folder), *options, "--direction", "min", MESH_HOME=str(tmp_path / "home")) as screen:
        screen.until(r"It also prints checksum\. Must every candidate print the same\?")
        screen.press("\r")
        screen.until(r"N reads like the size of the problem[^\[]*Keep it\?")
        screen.press("\r")
        screen.until(r"next: mesh check")
    spec = load_arena(folder)
    assert re.fullmatch(r"== \d+", spec.objective.constraints["checksum"])
    assert spec.knobs.bounds == {"N": "fixed"}


CHEAT = git_hash("cheat")


def with_numbers(log: Log, tree: str, seed: int, value: float, **others: float) -> Post:
    """Finish a run of a proposal whose score has other numbers; return its post."""
    run = log.request(tree, seed=seed)
    outcome = Scored(value=value, metrics={"loss": value, **others})
    return log.add("w", RunFinished(run=run, proposal=git_hash(tree), outcome=outcome, worker="w", worker_class="cpu"))


@pytest.fixture
def log() -> Log:
    """An arena whose baseline gives a checksum, a count and a time, and another proposal."""
    log = Log(SPEC)
    log.open(tree="base")
    log.propose("base", how="baseline")
    for seed in (1, 2, 3):
        with_numbers(log, "base", seed, 1.0 + seed / 100, checksum=8123, items=40, wall_s=seed)
    log.propose("cheat")
    return log


async def test_a_changed_checksum_is_seen_by_the_critic_and_in_every_listing(log: Log, tmp_path: Path) -> None:
    critic = Critic(Context("cid", 0, CodeReader(CodeStore(tmp_path / "code.git", MemoryBus("a")))))
    [word] = await critic.handle(with_numbers(log, "cheat", 1, 0.5, checksum=2011, items=40, wall_s=9), log.board)
    odd = "checksum is 2011, not 8123 as in every run of the baseline"
    assert isinstance(word, CritiquePosted)
    assert (word.verdict, word.rule, word.confidence) == ("warn", "other_results", None)
    assert word.text.startswith(f"{odd}: does it still do all of the work?")
    log.promote("cheat", mean=0.5)
    assert odd in odd_champion(log.board)
    assert f"odd: {odd}" in card(log.board, about(log.board, Named("proposal", CHEAT)))


def test_the_same_results_and_other_times_are_not_odd(log: Log) -> None:
    with_numbers(log, "cheat", 1, 0.5, checksum=8123, items=40, wall_s=99)
    log.promote("cheat", mean=0.5)
    assert odd_champion(log.board) == ""
