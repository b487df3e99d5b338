"""A finish carries hashes of code, data, evaluator and environment, taken by the worker from what really ran."""

import os
from pathlib import Path

import msgspec
import pytest

from gpu_worker.machine import environment_hash, survey
from mesh import frozen_data
from mesh.arena import evaluator_hash, hash_of
from mesh.events import ArenaOpened, RunRequested
from mesh.memory import MemoryHub
from mesh.testing import content_hash
from tests.test_worker import GOOD, SPEC, Arena


async def test_a_finish_carries_the_hashes_of_what_really_ran(tmp_path: Path) -> None:
    # given an arena whose opening claims another evaluator than its files make, and a proposal with another scorer
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    (tmp_path / "data" / "public").mkdir(parents=True)
    (tmp_path / "data" / "public" / "x").write_text("1")
    frozen = await frozen_data.freeze(tmp_path / "data", arena.bus)
    await arena.open(frozen=frozen, evaluator=content_hash("claimed"))
    # when a worker runs it
    done = await arena.run(GOOD)
    # then it says what it laid out: the proposal's program, the base's scorer
    [opened], [asked] = await arena.all(ArenaOpened), await arena.all(RunRequested)
    base, proposal = await arena.code.files(opened.base_commit), await arena.code.files(asked.commit)
    assert base["score.py"] != proposal["score.py"]
    assert done.code == hash_of({**base, "train.py": proposal["train.py"]}.items())
    assert done.evaluator == evaluator_hash(SPEC, base) != "claimed"
    assert done.data == frozen
    assert done.environment == environment_hash("cpu")


def test_the_evaluator_is_all_that_decides_a_score_and_nothing_else() -> None:
    files = {"train.py": b"1", "score.py": b"2", "README.md": b"3", "arena.toml": b"4"}
    same = evaluator_hash(SPEC, files)
    assert evaluator_hash(SPEC, files | {"train.py": b"x", "README.md": b"x", "arena.toml": b"x"}) == same
    assert evaluator_hash(msgspec.structs.replace(SPEC, name="b", summary="c"), files) == same
    exact = msgspec.structs.replace(SPEC.objective, noise="none")
    assert evaluator_hash(msgspec.structs.replace(SPEC, objective=exact), files) == same
    assert evaluator_hash(SPEC, files | {"score.py": b"x"}) != same
    for part, field, value in (
        ("trial", "memory_gb", 3.0),
        ("score", "deadline_s", 9.0),
        ("objective", "bounds", (0, 1)),
    ):
        changed = msgspec.structs.replace(getattr(SPEC, part), **{field: value})
        assert evaluator_hash(msgspec.structs.replace(SPEC, **{part: changed}), files) != same


def test_a_rule_that_only_states_its_default_changes_no_hash() -> None:
    stated = msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(SPEC.trial, network=False, preload=()))
    assert evaluator_hash(stated, {}) == evaluator_hash(SPEC, {})


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, *rows: str) -> None:
    """Put a program in place of nvidia-smi."""
    program = folder / "nvidia-smi"
    shown = "".join(f"echo '{row}, GPU-{number}a-b'\n" for number, row in enumerate(rows))
    program.write_text(f"#!/bin/sh\n{shown}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_the_environment_hash_of_a_gpu_depends_on_its_name_and_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smi(tmp_path, monkeypatch, "NVIDIA H200, 143771, 570.1", "NVIDIA H200, 143771, 570.1")
    found = survey("auto", None)
    assert (found.worker_class, found.device, found.memory_mb, len(found.slots)) == (
        "cuda-h200",
        "NVIDIA H200",
        143771,
        2,
    )
    smi(tmp_path, monkeypatch, "NVIDIA H200, 143771, 575.2")
    assert survey("cuda", None).environment != found.environment
    smi(tmp_path, monkeypatch, "NVIDIA H100, 81559, 570.1")
    assert survey("cuda", None).environment != found.environment
    smi(tmp_path, monkeypatch, "NVIDIA H200, 143771, 570.1")
    assert survey("cuda", 1).environment == found.environment


@pytest.mark.parametrize("row", ["No devices were found", "NVIDIA H200, [N/A], 570.1", ""])
def test_without_a_gpu_the_device_is_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    smi(tmp_path, monkeypatch, row)
    found = survey("auto", 1)
    assert found.worker_class.startswith("cpu-")
    assert found.environment == environment_hash("cpu")
