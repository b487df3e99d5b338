"""`mesh check`: the baseline and the attacks of an arena, by the real worker."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.arena_files import read_files
from mesh.errors import BadArena
from mesh.events import Failed, FailureReason, Scored
from mesh.spec import Direction, ObjectiveSpec
from mesh_cli.setup.attacks import allowance, changed_files, holds, read_attacks
from mesh_cli.setup.check_arena import check_arena
from mesh_cli.setup.check_facts import ArenaFacts, arena_facts
from mesh_cli.setup.check_oddities import check_warnings
from mesh_cli.setup.check_result import BaselineRun, Checked
from mesh_cli.setup.check_view import check_lines

DIGITS = Path(__file__).parents[1] / "arenas" / "digits"
NUMBER = """
[arena]
name = "number"
[objective]
metric = "number"
direction = "maximize"
[artifact]
editable = ["number.py"]
[trial]
command = ["python", "number.py"]
budget_s = 2.0
deadline_s = 20.0
[score]
how = "command"
command = ["python", "score.py"]
"""
SCORE = """
import json, os, pathlib
text = (pathlib.Path(os.environ["MESH_OUT"]) / "number").read_text()
print(json.dumps({"number": eval(text)}))
"""
ATTACKS = """
[[attack]]
name = "leaves code for eval"
tries = "runs in the scorer"
edits = [{ file = "number.py", old = '"5"', new = '"2 + 9"' }]
expect = "not better than baseline"

[[attack]]
name = "not a number"
files = { "number.py" = "nan.py" }
expect = ["bad_score", "no_score"]
"""


@pytest.fixture
def number(tmp_path: Path) -> Path:
    """An arena whose scorer evaluates what a trial leaves, and two attacks, one of which gets through."""
    folder = tmp_path / "number"
    (folder / "attacks").mkdir(parents=True)
    write = 'import os, pathlib\n(pathlib.Path(os.environ["MESH_OUT"]) / "number").write_text("5")\n'
    files = {"arena.toml": NUMBER, "score.py": SCORE, "number.py": write, "attacks/attacks.toml": ATTACKS}
    for name, text in (files | {"attacks/nan.py": write.replace('"5"', "\"float('nan')\"")}).items():
        (folder / name).write_text(text)
    return folder


def test_an_attack_that_gets_through_is_shown_and_fails_the_command(number: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mesh_cli", "check", str(number), "--attacks", "--seeds", "2", "--slots", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[:4] == ["number: number, higher is better", "", "baseline", "score 5.0000 (2 seeds: 5.0000, 5.0000)"]
    attacks = lines.index("attacks")
    assert lines[attacks + 1 : attacks + 4] == [
        "attack expected got it tries",
        "leaves code for eval not better than baseline 11.0000 GOT THROUGH runs in the scorer",
        "not a number bad_score or no_score bad_score held",
    ]
    assert lines[-1] == "not ready: 1 problem"
    said = "mesh: attack 'leaves code for eval' got 11.0000; expected: not better than baseline"
    assert done.stderr.splitlines()[-1] == said
    assert "4/4 " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_a_check_without_attacks_runs_the_baseline_and_prints_json(number: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mesh_cli", "check", str(number), "--seeds", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["arena"], found["metric"], found["attacks"]) == ("number", "number", [])
    assert [ended["outcome"]["value"] for ended in found["baseline"]] == [5.0]


async def test_a_baseline_that_fails_is_no_bound_for_attacks(number: Path) -> None:
    (number / "score.py").write_text("raise SystemExit('no scores today')")
    done = await check_arena(number, attacks=True, seeds=1, slots=2, device="cpu")
    assert done.scores == []
    assert [attack.held for attack in done.attacks] == [False, True]


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ("[float(text), float(text) + 2.0]", 2),  # the split is not read
        ("[float(text), float(text) + (2.0 if os.environ['MESH_SPLIT'] == 'search' else 1.0)]", 0),
        ("[float(text)] * 2", 0),  # equal numbers say nothing about which items they are of
    ],
)
async def test_a_check_warns_where_search_and_proof_have_the_same_items(number: Path, values: str, warned: int) -> None:
    score = f"""
import json, os, pathlib
text = (pathlib.Path(os.environ["MESH_OUT"]) / "number").read_text()
values = {values}
pathlib.Path(os.environ["MESH_ITEMS"]).write_text(json.dumps({{"values": values}}))
print(json.dumps({{"number": sum(values) / 2}}))
"""
    (number / "score.py").write_text(score)
    (number / "arena.toml").write_text(NUMBER.replace("[artifact]", 'noise = "items"\n[artifact]'))
    done = await check_arena(number, seeds=1, slots=1, device="cpu")
    assert [type(run.outcome) for run in done.baseline] == [Scored]
    assert done.same_items == warned
    told = [sentence for sentence in check_warnings(done) if "items" in sentence]
    assert len(told) == bool(warned)
    assert all("search and proof have the same 2 items, so every judged candidate counts as a test" in t for t in told)


def test_attacks_are_no_part_of_an_arena(number: Path) -> None:
    assert set(read_files(number)) == {"arena.toml", "score.py", "number.py"}
    (number / "lib" / "attacks").mkdir(parents=True)
    (number / "lib" / "attacks" / "kept.py").write_text("")
    assert "lib/attacks/kept.py" in read_files(number)
    (number / "arena.toml").write_text(NUMBER.replace('"number.py"]\n[trial]', '"attacks/nan.py"]\n[trial]'))
    with pytest.raises(BadArena, match=r"'attacks/nan\.py' is in 'attacks', which is never part of an artifact"):
        load_arena(number)


def test_an_attack_changes_editable_files_by_whole_files_and_edits(number: Path) -> None:
    spec = load_arena(number)
    code, nan = read_attacks(number)
    assert changed_files(nan, number, spec) == {"number.py": (number / "attacks" / "nan.py").read_bytes()}
    (changed,) = changed_files(code, number, spec).values()
    assert changed == (number / "number.py").read_bytes().replace(b'"5"', b'"2 + 9"')


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[[attack]]", "[[cheat]]", "unknown field `cheat`"),
        ("name", "nome", "unknown field `nome`"),
        ('"not a number"', '"leaves code for eval"', "two attacks have the name 'leaves code for eval': rename one"),
        ('["bad_score", "no_score"]', "[]", "attack 'not a number': expect is empty: use a reason (timeout, "),
        ('"no_score"]', '"> seven"]', """expect has '> seven': use a reason (timeout, """),
        ("baseline", "base", """expect has 'not better than base': use a reason"""),
        ("number.py", "score.py", "'score.py' is not editable; use number.py"),
        ("nan.py", "../score.py", "'../score.py' does not exist in "),
        ("'\"5\"'", "'\"6\"'", "number.py does not contain '\"6\"': an edit replaces a text that is there"),
        (ATTACKS, "", "has no [[attack]]: list at least one"),
        (ATTACKS, "[[attack", "Expected ']]' at the end of an array declaration"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(number: Path, old: str, new: str, sentence: str) -> None:
    assert old in ATTACKS
    (number / "attacks" / "attacks.toml").write_text(ATTACKS.replace(old, new))
    spec = load_arena(number)
    with pytest.raises(BadArena) as caught:
        [changed_files(attack, number, spec) for attack in read_attacks(number)]
    assert sentence in str(caught.value)
    assert str(number / "attacks" / "attacks.toml") in str(caught.value)


def test_an_arena_without_attacks_is_told_how_to_list_them(number: Path) -> None:
    (number / "attacks" / "attacks.toml").unlink()
    with pytest.raises(BadArena, match=r"attacks\.toml does not exist: it lists the attacks that must not succeed"):
        read_attacks(number)


@pytest.mark.parametrize(
    ("expect", "outcome", "direction", "held"),
    [
        ("crash", "crash", "minimize", True),
        ("crash", "no_score", "minimize", False),
        ("crash", 8.0, "minimize", False),
        ("> 7.9", 8.0, "minimize", True),
        ("> 7.9", 7.9, "minimize", False),
        (">= 7.9", 7.9, "minimize", True),
        ("< 0.2", 0.1, "maximize", True),
        ("<= 0.2", 0.3, "maximize", False),
        ("= 8", 8.0, "minimize", True),
        ("= 8", 7.999, "minimize", False),
        ("> 7.9", "crash", "minimize", False),
        ("not better than baseline", 3.0, "minimize", True),
        ("not better than baseline", 2.0, "minimize", True),  # within 3 sd of one more score: 3 * 0.1 * sqrt(4 / 3)
        ("not better than baseline", 1.6, "minimize", False),
        ("not better than baseline", 1.6, "maximize", True),
        ("not better than baseline by 0.01", 1.98, "minimize", False),
        ("not better than baseline by 0.01", 2.02, "maximize", False),
        ("not better than baseline", "crash", "minimize", False),
    ],
)
def test_what_is_expected_is_a_reason_or_a_bound(
    expect: str, outcome: FailureReason | float, direction: Direction, held: bool
) -> None:
    ended = Scored(value=outcome) if isinstance(outcome, float) else Failed(reason=outcome, message="")
    objective = ObjectiveSpec(metric="m", direction=direction)
    baseline = [1.9, 2.0, 2.1]
    assert holds([expect], ended, objective, baseline) is held
    assert holds(["timeout", expect], ended, objective, baseline) is held
    assert allowance(baseline) == pytest.approx(0.3464, abs=1e-4)


async def test_the_attacks_of_digits_get_what_they_should() -> None:
    done = await check_arena(DIGITS, attacks=True, seeds=3, slots=2, device="cpu")
    assert [(attack.name, attack.outcome) for attack in done.attacks if not attack.held] == []
    assert len(done.attacks) == 14
    assert all(0.65 < score < 0.92 for score in done.scores), done.scores  # how far training comes in its CPU seconds


async def test_the_attacks_of_invoices_get_what_they_should(tmp_path: Path) -> None:
    short = tmp_path / "invoices"  # with less budget to burn, and with time to burn it on a busy machine
    shutil.copytree(DIGITS.parent / "invoices", short, ignore=shutil.ignore_patterns("data", "out", "__pycache__"))
    text = (short / "arena.toml").read_text()
    for old, new in (("\nbudget_s = 4.0", "\nbudget_s = 1.0"), ("\ndeadline_s = 30.0", "\ndeadline_s = 90.0")):
        assert old in text
        text = text.replace(old, new)
    (short / "arena.toml").write_text(text)
    done = await check_arena(short, attacks=True, seeds=3, slots=2, device="cpu")
    assert [(attack.name, attack.outcome) for attack in done.attacks if not attack.held] == []
    assert len(done.attacks) == 15
    assert all(-1.0 < score < 0.8 for score in done.scores), done.scores


@pytest.mark.parametrize(
    ("metric", "slots", "exclusive", "warned"),
    [
        ("p95_ms", 2, False, True),
        ("train_seconds", 4, False, True),
        ("speedup", 2, False, True),
        ("p95_ms", 1, False, False),
        ("p95_ms", 1, True, False),
        ("val_loss", 2, False, False),
        ("times_seen_items", 2, False, True),
        ("timely", 2, False, False),
    ],
)
def test_a_check_says_whether_a_time_is_measured_alone(metric: str, slots: int, exclusive: bool, warned: bool) -> None:
    done = Checked("a", metric, (), (), slots=slots, exclusive=exclusive)
    said = (
        f"{metric} reads like a time, and this machine runs {slots} trials at a time, which slow each other: "
        "set trial.exclusive = true"
    )
    assert check_warnings(done) == ([said] if warned else [])
    run = BaselineRun(1, Scored(value=1.0), 1.0, 0.0)
    lines = check_lines(Checked("a", metric, (run,), (), slots=slots, exclusive=exclusive), 200)
    [night] = [line for line in lines if "a night" in line]
    assert ("one at a time, on fixed cores (trial.exclusive)" in night) == exclusive


def test_a_night_has_the_time_between_runs_too() -> None:
    runs = [BaselineRun(1, Scored(value=1.0), seconds, 0.0) for seconds in (0.0, 0.02, 60.0)]
    nights = [Checked("a", "loss", (run,), (), slots=2).a_night for run in runs]
    assert nights == [960_000, 720_000, 959]


async def test_a_real_check_counts_the_slots_of_the_machine(number: Path) -> None:
    text = (number / "arena.toml").read_text()
    (number / "arena.toml").write_text(text.replace("[trial]", "[trial]\nexclusive = true"))
    alone = await check_arena(number, seeds=1, slots=2, device="cpu")
    (number / "arena.toml").write_text(text)
    beside = await check_arena(number, seeds=1, slots=2, device="cpu")
    assert [(done.slots, done.exclusive, done.scores) for done in (alone, beside)] == [
        (1, True, [5.0]),
        (2, False, [5.0]),
    ]


def runs(*values: float, output: str = "", used_s: float = 1.0) -> tuple[BaselineRun, ...]:
    """Runs of a baseline that got these scores."""
    return tuple(
        BaselineRun(seed, Scored(value=value), 1.0, 0.5, (), used_s, 100.0, output)
        for seed, value in enumerate(values, 1)
    )


@pytest.mark.parametrize(
    ("facts", "baseline", "sentence"),
    [
        (ArenaFacts(budget_s=2.0), runs(0.5, 0.5), "seeds do nothing: all runs got the same score"),
        (ArenaFacts(budget_s=2.0, reads_seed=True), runs(0.5, 0.5), ""),
        (ArenaFacts(budget_s=2.0, own_seeds=1), runs(0.5, 0.5), ""),
        (ArenaFacts(budget_s=2.0), runs(0.5, 0.6), ""),
        (ArenaFacts(budget_s=2.0, noise="none"), runs(0.5, 0.6), 'objective.noise is "none", but the baseline got'),
        (ArenaFacts(budget_s=1.1, limit_s=1.1), runs(0.5, 0.6), "used 1.0 s, and a run ends after 1.1 s"),
        (ArenaFacts(budget_s=1.1, limit_s=11.375), runs(0.5, 0.6), ""),
        (
            ArenaFacts(command=("a",), deadline_s=1.2),
            runs(0.5, 0.6),
            "took 1.0 s by the clock, and trial.deadline_s is",
        ),
        (ArenaFacts(budget_s=600.0, command=("a",)), runs(0.5, 0.6), "trial.budget_s = 5.0 is enough"),
        (
            ArenaFacts(budget_s=2.0, how="stdout", pattern=r"acc: ([\d.]+)"),
            runs(0.5, 0.6, output="train acc: 0.9\ntest acc: 0.5\n"),
            "matches 2 different numbers of the output (0.9, 0.5), and the last one counts",
        ),
        (ArenaFacts(budget_s=2.0, how="stdout", pattern=r"acc: ([\d.]+)"), runs(0.5, 0.6, output="acc: 0.5\n"), ""),
    ],
)
def test_what_is_odd_is_said_in_a_sentence_each(
    facts: ArenaFacts, baseline: tuple[BaselineRun, ...], sentence: str
) -> None:
    done = Checked("a", "loss", baseline, (), facts=facts)
    told = check_warnings(done)
    assert [sentence in each for each in told] == [True] * bool(sentence)
    verdict = "ready, with 1 thing to look at" if sentence else "ready"
    assert check_lines(done)[-1] == verdict


def test_a_time_that_shall_be_higher_is_odd_and_so_is_a_rate_that_shall_be_lower() -> None:
    for metric, direction in (("p95_ms", "maximize"), ("qps", "minimize"), ("p95_ms", "minimize"), ("qps", "maximize")):
        facts = ArenaFacts(budget_s=2.0, direction=direction)  # type: ignore[arg-type]
        told = check_warnings(Checked("a", metric, runs(0.5, 0.6), (), facts=facts))
        assert bool(told) == ((metric == "p95_ms") == (direction == "maximize"))


async def test_a_check_shows_files_knobs_and_a_night_within_eighty_columns(number: Path) -> None:
    (number / "number.py").write_text(
        "import os, pathlib, random\nSEED = 3\nWIDTH = 5  # mesh: 1..9\nrandom.seed(SEED)\n"
        '(pathlib.Path(os.environ["MESH_OUT"]) / "number").write_text(str(WIDTH + random.random()))\n'
    )
    (number / "notes.txt").write_text("x")
    text = (number / "arena.toml").read_text()
    (number / "arena.toml").write_text(text.replace("[trial]", 'hidden = ["notes.txt"]\n[trial]'))
    done = await check_arena(number, slots=2, device="cpu")
    assert len(done.baseline) == 2
    assert len(set(done.scores)) == 1, "search keeps the program's own seed"
    assert len(set(done.proof_scores)) == 2, "proof replaces it"
    lines = check_lines(done)
    assert all(len(line) <= 80 for line in lines)
    plain = [" ".join(line.split()) for line in lines]
    assert "may change number.py" in plain
    assert "hidden notes.txt (only the score program sees it)" in plain
    assert "leak audit found nothing private where runs can read" in plain
    assert "WIDTH 5 1 .. 9 number.py" in plain
    assert any(line.startswith("noise ± 0.") for line in plain)
    assert any(line.startswith("a night about ") and line.endswith("in 8 hours, 2 at a time") for line in plain)
    assert plain[-1] == "ready"


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("true", "the whole network, no keys"),
        ("false", "no network, no keys"),
        ('"loopback"', "a loopback of its own, no keys"),
    ],
)
def test_a_check_says_which_network_a_run_has(network: str, words: str, number: Path) -> None:
    text = (number / "arena.toml").read_text()
    (number / "arena.toml").write_text(text.replace("[trial]", f"[trial]\nnetwork = {network}"))
    lines = check_lines(Checked("a", "loss", runs(0.5, 0.6), (), facts=arena_facts(number, load_arena(number))))
    assert words in " ".join(" ".join(lines).split())
