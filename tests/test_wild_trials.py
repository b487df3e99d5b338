"""A trial that leaves what nobody can read or delete by ordinary means fails alone; its worker goes on."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gpu_worker.cleanup import clear_leftovers
from gpu_worker.sandbox.tiers import FIRST_UID, UIDS
from mesh.events import Failed, Scored
from mesh.memory import MemoryHub
from tests.test_file_trees import wild
from tests.test_worker import Arena

GOOD = "(out / 'score.json').write_text('{\"loss\": 1}')\n"
DIG = """
def dig(folder, depth):
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("n" * 200, dir_fd=here)
        inner = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.fchmod(here, 0)
        os.close(here)
        here = inner
    os.fchmod(here, 0)
"""


async def test_folders_that_are_too_deep_fail_their_own_run_and_are_deleted(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    await arena.request(f"{GOOD}{DIG}dig('.', 60)\ndig(os.environ['TMPDIR'], 60)", "scratch")
    await arena.request(f"{GOOD}{DIG}dig(out, 140)", "output")
    await arena.request(f"{GOOD}{DIG}os.mkdir(out / 'x'); dig(out / 'x', 60)", "hidden")
    await arena.request(GOOD, "good")
    async with arena.worker():
        done = {run: await arena.finished(run) for run in ("scratch", "output", "hidden", "good")}
    assert {run: type(event.outcome) for run, event in done.items()} == {
        "scratch": Scored,
        "output": Failed,
        "hidden": Scored,
        "good": Scored,
    }
    too_deep = done["output"].outcome
    assert isinstance(too_deep, Failed)
    assert "deeper than 128" in too_deep.message  # seen while it ran, or when its output was made read-only
    assert not list((arena.home / "runs").iterdir())


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="REPORTED: this system has no /dev/shm")
def test_a_worker_that_starts_clears_whatever_an_earlier_life_left(tmp_path: Path) -> None:
    runs = Path("/dev/shm") / f"mesh-test-{os.getpid()}" / "runs"
    shared = Path("/dev/shm") / f"left-{os.getpid()}"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (runs / "boot" / "run" / "out").mkdir(parents=True)
    (runs / "boot" / "owner").write_bytes(msgspec.json.encode([dead.pid, 1.0]))
    wild(runs / "boot" / "run" / "out")
    (runs / "boot" / "run" / "shared-memory.json").write_text("[]" if os.geteuid() else "not a list")
    shared.write_text("x")
    if os.geteuid() == 0:
        os.chown(shared, FIRST_UID + UIDS - 1, -1)
    try:
        clear_leftovers(runs)
        assert list(runs.iterdir()) == []
        assert not shared.exists()
    finally:
        shared.unlink(missing_ok=True)
        runs.rmdir()
        runs.parent.rmdir()
