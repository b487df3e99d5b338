"""`score.how = "file"`: what of the file that a trial writes is its score, and what is said where there is none."""

import json
from pathlib import Path

import pytest

from gpu_worker.file_score import MAX_BYTES, read_score
from mesh import arena
from mesh.errors import BadArena
from mesh.events import Failed, Infeasible, Scored
from mesh.spec import ScoreSpec
from mesh_cli.setup.check_runs import Artifact, run_artifacts

JSON = ScoreSpec(how="file", file="out/m.json", key="test.f1")
TABLE = ScoreSpec(how="file", file="out/m.csv", column="f1")
TEXT = ScoreSpec(how="file", file="out/m.txt", pattern=r"^time:\s+([\d.eE+-]+\w*)")


def found(score: ScoreSpec, text: str | bytes, folder: Path) -> dict[str, float] | str:
    (folder / "out").mkdir(exist_ok=True)
    (folder / score.file).write_bytes(text if isinstance(text, bytes) else text.encode())
    read = read_score(score, "f1", folder)
    if isinstance(read, Failed):
        assert read.reason == "no_score"
        return read.message
    return read


@pytest.mark.parametrize(
    ("score", "text", "expected"),
    [
        (JSON, '{"test": {"f1": 0.5, "recall": 1, "ok": true, "name": "x"}, "n": 3}', {"f1": 0.5, "recall": 1}),
        (JSON, '\ufeff{"test.f1": 2}', {"f1": 2, "test.f1": 2}),
        (JSON, '{"test": {"f1": 1}}\n{"test": {"f1": 2}}\n', {"f1": 2}),
        (ScoreSpec(how="file", file="out/m.json", key="r.-1.s"), '{"r": [{"s": 1}, {"s": 3}]}', {"s": 3, "f1": 3}),
        (JSON, '{"test": {}}', "out/m.json has no key 'test.f1': at 'f1' there are none"),
        (JSON, '{"train": 1, "dev": 2}', "out/m.json has no key 'test.f1': at 'test' there are train, dev"),
        (JSON, '{"test": 7}', "out/m.json has no key 'test.f1': at 'f1' there is 7"),
        (JSON, '{"test": {"f1": "0.5"}}', "'test.f1' in out/m.json is the text '0.5', not a number"),
        (JSON, '{"test": {"f1": true}}', "'test.f1' in out/m.json is true, not a number"),
        (JSON, '{"test": {"f1": null}}', "'test.f1' in out/m.json is null, not a number"),
        (JSON, '{"test": {"f1": [1]}}', "'test.f1' in out/m.json is a list, not a number"),
        (JSON, '{"test": ', "out/m.json is not valid JSON: Expecting value: line 1 column 10 (char 9)"),
        (JSON, "[" * 100_000, "out/m.json is not valid JSON: it is nested too deeply"),
        (JSON, b"\xff\xfe", "out/m.json is not UTF-8 text (byte 0)"),
        (TABLE, "name,f1,loss\na,0.1,2\nb,0.2,1\n", {"f1": 0.2, "loss": 1}),
        (TABLE, "name;f1\r\na;0.1\r\n\r\n", {"f1": 0.1}),
        (TABLE, "name\tf1\na\t\n", "column 'f1' in out/m.csv is the text '', not a number"),
        (TABLE, "name,f1\na,good\n", "column 'f1' in out/m.csv is the text 'good', not a number"),
        (TABLE, "name,f1\na\n", "column 'f1' in out/m.csv is the text '', not a number"),
        (TABLE, "name,loss\na,1\n", "out/m.csv has no column 'f1': there are name, loss"),
        (TABLE, "name,f1\n", "out/m.csv has no row but its header"),
        (TABLE, "", "out/m.csv is not a table with a header"),
        (ScoreSpec(how="file", file="out/m.csv", column="f1", row="a"), "n,f1\na,0.1\nb,0.2\n", {"f1": 0.1}),
        (ScoreSpec(how="file", file="out/m.csv", column="f1", row="c"), "n,f1\na,0.1\n",
         "out/m.csv has no row 'c' (by its first column)"),
        (TEXT, "time: 3.5\nother\ntime:   2.5\n", {"f1": 2.5}),
        (TEXT, "time: 3.5ms\n", rf"{TEXT.pattern!r} finds the text '3.5ms' in out/m.txt, not a number"),
        (TEXT, "took 3\n", f"no text in out/m.txt matches {TEXT.pattern!r}"),
    ],
)  # fmt: skip
def test_the_number_of_a_file_is_read_or_one_sentence_says_why_not(
    score: ScoreSpec, text: str | bytes, expected: dict[str, float] | str, tmp_path: Path
) -> None:
    assert found(score, text, tmp_path) == expected


def test_a_file_that_is_no_file_of_the_trial_is_no_score(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "m.json").write_text('{"test": {"f1": 42}}')
    trial = tmp_path / "trial"
    (trial / "out").mkdir(parents=True)
    path = trial / "out" / "m.json"

    def why() -> str:
        read = read_score(JSON, "f1", trial)
        assert isinstance(read, Failed)
        return read.message

    assert why() == "the trial did not write out/m.json, the file of its score"
    path.symlink_to(tmp_path / "secret" / "m.json")
    assert why().startswith("out/m.json, the file of the score, cannot be read: ")
    path.unlink()
    path.mkdir()
    assert why() == "out/m.json, the file of the score, cannot be read: Is a directory"
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert why() == f"out/m.json has {MAX_BYTES + 1:,} bytes, but the file of the score may have {MAX_BYTES:,}"
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path / "secret")
    assert why().startswith("out/m.json, the file of the score, cannot be read: ")


TOML = """
[arena]
name = "filed"
[objective]
metric = "f1"
direction = "maximize"
bounds = [0, 1]
constraints = { ms = "<= 5" }
[artifact]
editable = ["train.py"]
[trial]
command = ["python", "train.py"]
budget_s = 20
deadline_s = 20
[score]
how = "file"
file = "results/m.json"
key = "f1"
"""


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('file = "results/m.json"', "", "score.file is missing"),
        ('"results/m.json"', '"../m.json"', "score.file is '../m.json': use a relative path inside"),
        ('"results/m.json"', '"train.py"', "score.file is 'train.py', which proposals may change"),
        ('key = "f1"', "", "needs one of key .of a JSON file., column .of a CSV file. and pattern .of a text., but "),
        ('key = "f1"', 'key = "f1"\ncolumn = "f1"', "but arena.toml has key and column"),
        ('key = "f1"', 'key = "f1"\nrow = "f1"', "score.row names a row of a CSV file: it needs score.column"),
        ('key = "f1"', 'pattern = "f1"', "score.pattern has 0 groups"),
        ('key = "f1"', 'pattern = "(.)"', "objective names the number 'ms', but score.pattern gives only the metric"),
        ('key = "f1"', 'key = "f1"\ncommand = ["python"]', "score.command, predict and stage must be left out"),
        ('"file"', '"command"', 'score.command is missing|score.file needs score.how = "file"'),
    ],
)
def test_a_file_of_the_score_that_cannot_be_is_refused(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "arena.toml").write_text(TOML.replace(old, new))
    (tmp_path / "train.py").write_text("")
    with pytest.raises(BadArena, match=sentence):
        arena.load_arena(tmp_path)


def writes(**numbers: object) -> bytes:
    return f"open('results/m.json', 'w').write({json.dumps(numbers)!r})\n".encode()


async def test_a_trial_is_scored_by_the_file_that_it_writes_and_never_by_an_older_one(
    tmp_path: Path, home: Path
) -> None:
    folder = tmp_path / "filed"
    (folder / "results").mkdir(parents=True)
    (folder / "results" / "m.json").write_text('{"f1": 0.99, "ms": 1}')
    (folder / "arena.toml").write_text(TOML)
    (folder / "train.py").write_bytes(writes(f1=0.5, ms=3))
    trials = {
        "base": writes(f1=0.5, ms=3),
        "none": b"pass\n",
        "nan": writes(f1=float("nan"), ms=1),
        "low": writes(f1=-1, ms=1),
        "slow": writes(f1=0.7, ms=9),
        "text": writes(f1="0.5", ms=1),
    }
    ended = await run_artifacts(folder, [Artifact(name, {"train.py": text}) for name, text in trials.items()], slots=1)
    outcomes = {name: done[0].outcome for name, done in ended.items()}
    assert outcomes["base"] == Scored(value=0.5, metrics={"f1": 0.5, "ms": 3}, self_reported=True)
    assert isinstance(outcomes["slow"], Infeasible)
    told = {name: (each.reason, each.message) for name, each in outcomes.items() if type(each) is Failed}
    assert told == {
        "none": ("no_score", "the trial did not write results/m.json, the file of its score"),
        "nan": ("bad_score", "f1 is nan, not a finite number of at most 1e+100"),
        "low": ("bad_score", "f1 is -1, outside [0, 1]"),
        "text": ("no_score", "'f1' in results/m.json is the text '0.5', not a number"),
    }
