"""Inputs nested thousands of levels deep, or with numbers of thousands of digits, end in one sentence."""

import hashlib
import time
from pathlib import Path

import msgspec
import pytest

from agents.curator import Curator
from gpu_worker.outcome import score_outcome, trial_outcome
from mesh import config, foreign_folder, foreign_tasks, frozen_data
from mesh.agent.code_reader import CodeReader
from mesh.agent.protocol import Context
from mesh.arena import load_arena
from mesh.code import CodeStore
from mesh.decoding import decode_json, decode_toml
from mesh.errors import BadArena, BadInput, ObjectMissing
from mesh.events import ArenaClosed, CurvePoint, Failed
from mesh.memory import MemoryBus
from mesh.spec import ScoreSpec, SelectionSpec
from mesh.testing import SPEC, Log
from tests.support.arenas import ARENA, write_arena
from tests.test_foreign_tasks import text_of
from tests.test_outcome import BUDGET, LIMITS, NO_GPU, ending

DEPTHS = (3000, 100_000)


def nestings(depth: int) -> dict[str, str]:
    return {
        "lists": "x = " + "[" * depth + "]" * depth,
        "open lists": "x = " + "[" * depth,
        "tables": "x = " + "{a = " * depth + "1" + "}" * depth,
        "names": ".".join(["a"] * depth) + " = 1",
        "headers": "[" + ".".join(["a"] * depth) + "]\nb = 1",
        "lists of tables": "[[" + ".".join(["a"] * depth) + "]]\nb = 1",
    }


NUMBERS = {
    "whole": "x = " + "9" * 5000,
    "hex": "x = 0x" + "f" * 5000,
    "date": "x = 9999-99-99",
    "zone": "x = 2026-01-01T00:00:00+99:99",
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("what", nestings(1))
def test_toml_of_any_depth_is_refused_in_one_sentence(tmp_path: Path, what: str, depth: int) -> None:
    text = nestings(depth)[what]
    began = time.process_time()
    for mend in (text, f"{ARENA}\n{text}\n"):
        folder = write_arena(tmp_path / "arena", arena=mend)
        with pytest.raises(BadArena, match=r"arena\.toml") as refused:
            load_arena(folder)
        assert _is_sentence(str(refused.value))
    for read in (config.read, config.read_contexts):
        with pytest.raises(BadInput, match=r"mesh\.toml") as unread:
            read(text, "mesh.toml")
        assert _is_sentence(str(unread.value))
    assert time.process_time() - began < 20


@pytest.mark.parametrize("what", NUMBERS)
def test_toml_with_numbers_that_python_does_not_take_is_refused_in_one_sentence(tmp_path: Path, what: str) -> None:
    folder = write_arena(tmp_path / "arena", arena=ARENA.replace("budget_s = 1.0", f"budget_s = {NUMBERS[what][4:]}"))
    with pytest.raises(BadArena, match=r"arena\.toml") as refused:
        load_arena(folder)
    assert _is_sentence(str(refused.value))
    with pytest.raises(BadInput, match=r"mesh\.toml") as unread:
        config.read(NUMBERS[what], "mesh.toml")
    assert _is_sentence(str(unread.value))


def _is_sentence(text: str) -> bool:
    return "\n" not in text and len(text) < 1000 and "Traceback" not in text


def test_toml_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    folder = write_arena(tmp_path)
    (folder / "arena.toml").write_bytes(b"\xef\xbb\xbf" + ARENA.encode())
    assert load_arena(folder).name == "tiny"
    assert config.read("\ufeffarena = 'a'", "mesh.toml").values == {"arena": "a"}


@pytest.mark.parametrize(
    "data", [b"\xff\xfe[\x00a\x00]", b"[arena]\x00", b"x = '\xed\xa0\x80'", b"\xef\xbb\xbf\xef\xbb\xbf"]
)
def test_what_is_no_text_is_not_toml(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_toml(data)


BOMB = "a: &a [x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)
MERGE = "a: &a {x: 1}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{', '.join(['*' + chr(97 + n)] * 9)}]}}\n" for n in range(20)
)
LATE = "evaluator: {timeout: 7}\n"


@pytest.mark.parametrize(
    ("text", "timeout_s"),
    [
        (BOMB + LATE, 7.0),
        (MERGE + LATE, 7.0),
        ("evaluator:\n  timeout: " + "9" * 5000, 300.0),
        ("evaluator:\n  timeout: 1e999", 300.0),
        ("evaluator:\n  timeout: 2026-13-45", 300.0),
        ("evaluator: [timeout]", 300.0),
        ("a: &t [*t]\n" + LATE, 7.0),
        ("a: !!python/object:os.system x\n" + LATE, 7.0),
        ("[evaluator]", 300.0),
        ("? [a, b]\n: 1\nevaluator: {timeout: 9}", 9.0),
        ("", 300.0),
    ],
)
def test_a_yaml_bomb_costs_nothing(text: str, timeout_s: float) -> None:
    began = time.process_time()
    layout = foreign_tasks.recognise("t", ["evaluator.py", "initial_program.py", "config.yaml"], text_of(text))
    assert layout is not None
    assert f"\nbudget_s = {timeout_s}\n" in layout.toml
    assert time.process_time() - began < 5


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("form", ["[", "{a: ", "- ", "? "])
def test_a_foreign_task_with_deep_yaml_is_refused_in_one_sentence(tmp_path: Path, form: str, depth: int) -> None:
    for name in ("evaluator.py", "initial_program.py"):
        (tmp_path / name).touch()
    (tmp_path / "config.yaml").write_text(form * depth, encoding="utf-8")
    with pytest.raises(BadArena, match=r"config\.yaml") as refused:
        foreign_folder.describe(tmp_path)
    assert _is_sentence(str(refused.value))
    assert not (tmp_path / "arena.toml").exists()


NO_YAML = ('a: "\\U00110000"', "%YAML " + "9" * 5000, "a: \x00", "\ta: 1", "a: [", "&a &b c", "a: b: c")


@pytest.mark.parametrize("text", NO_YAML)
def test_yaml_that_is_none_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"^config\.yaml is not valid YAML: .") as refused:
        foreign_tasks.recognise("t", ["evaluator.py", "initial_program.py", "config.yaml"], text_of(text))
    assert _is_sentence(str(refused.value))


DEEP_JSON = ('{"x": ' + "[" * 100_000, b"[" * 3000, '{"a":' * 3000, b'{"x": "\xff"}', '{"x": ' + "9" * 5000)


@pytest.mark.parametrize("data", DEEP_JSON)
def test_json_of_any_depth_is_one_error(data: str | bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(data, CurvePoint)
    with pytest.raises(msgspec.DecodeError):
        decode_json(data, ArenaClosed)


def test_what_an_evaluation_prints_may_be_nested_to_any_depth() -> None:
    replace = msgspec.structs.replace
    score = ScoreSpec(how="openevolve", command=("python", "evaluator.py"))
    task = replace(SPEC, trial=replace(SPEC.trial, command=()), score=score)
    for deep in ('{"x": ' + "[" * 100_000 + "]" * 100_000 + "}", '{"metrics": ' + '{"a":' * 3000 + "1" + "}" * 3001):
        end = ending(rc=0, out=deep)
        found = [
            score_outcome(SPEC, end, LIMITS, NO_GPU, 0),
            trial_outcome(task, end, LIMITS, NO_GPU, 0, killed=False, budget=BUDGET, used_s=1.0),
        ]
        assert [outcome.reason for outcome in found if isinstance(outcome, Failed)] == ["no_score", "no_score"]


def test_a_live_curve_may_be_nested_to_any_depth(tmp_path: Path) -> None:
    deep = b"[1, 2.0, 3.0, 0.5, " + b"[" * 100_000 + b"]" * 100_001
    log = Log(msgspec.structs.replace(SPEC, selection=SelectionSpec(halving=True)))
    log.open()
    log.propose("t")
    run = log.request("t")
    curator = Curator(Context("c", 0, CodeReader(CodeStore(tmp_path, MemoryBus("a"))), {}))
    assert curator.heard(f"curve.{run}", deep, log.board) == []


async def test_data_whose_manifest_is_nested_to_any_depth_is_missing(tmp_path: Path) -> None:
    bus, deep = MemoryBus("a"), b'[["public/a", "b", 1, ' + b"[" * 100_000
    name = hashlib.sha256(deep).hexdigest()
    await bus.put(name, deep)
    with pytest.raises(ObjectMissing, match="not a valid manifest"):
        await frozen_data.thaw(name, bus, tmp_path)
