"""What a run leaves goes away beside the run that follows, never more than one run's, and a trial makes it no work."""

import json
import stat
import sys
from pathlib import Path

import anyio
import pytest

from gpu_worker.clearing import Clearing
from gpu_worker.environment import inherited
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.sandbox_choice import choose_tier
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request


def left(folder: Path, name: str, files: int) -> Path:
    run = folder / name
    (run / "out").mkdir(parents=True)
    run.chmod(0o711)
    for number in range(files):
        (run / "out" / str(number)).touch()
    return run


@pytest.mark.parametrize("tier", ["A", "B", "C", "D", "E"])
async def test_a_folder_goes_beside_the_next_run_where_no_trial_can_look_into_it(tier: Tier, tmp_path: Path) -> None:
    runs = [left(tmp_path, name, files) for name, files in {"one": 3000, "two": 1, "three": 1}.items()]
    folders = set(runs)
    async with anyio.create_task_group() as tasks:
        clearing = Clearing(tasks, folders, Sandbox(tier))
        await clearing.clear(runs[0])
        assert runs[0].exists() == (tier in "ABC")
        if tier in "ABC":
            assert stat.S_IMODE(runs[0].stat().st_mode) == 0o700
            assert folders == set(runs)
        await clearing.clear(runs[1])
        assert not runs[0].exists()
        assert runs[0] not in folders
    assert folders == {runs[2]}
    assert [run.exists() for run in runs] == [False, False, True]


async def test_what_stays_visible_below_tmp_costs_one_folder_on_the_disk(tmp_path: Path) -> None:
    tier, _ = await choose_tier("auto", tmp_path / "probe")
    sandbox, first = sandbox_of(tier), tmp_path.parts[2]
    work, tmp, script = tmp_path / "a" / "work", tmp_path / "a" / "tmp", tmp_path / "script.py"
    for folder in (work, tmp):
        folder.mkdir(parents=True)
    look = "import os, json; print(json.dumps([os.listdir('/tmp'), os.listdir(os.environ['WORK'])]))"
    script.write_text(f"import os; open(os.environ['WORK'] + '/made', 'w').close()\n{look}\n")
    sandbox.give([work, tmp])
    policy = sandbox.policy([script], [work, tmp], tmp=tmp)
    launch = Launch((sys.executable, str(script)), inherited() | {"WORK": str(work)}, str(work), policy)
    async with start_supervisor() as supervisor:
        ending = await supervisor.run(Request(launch, Limits(20)))
    if tier != "A" or tmp_path.parts[1] != "tmp":
        return  # it has no mounts of its own, or the folder of this test is elsewhere
    assert (ending.rc, ending.err) == (0, "")
    seen, made = json.loads(ending.out)
    assert made == ["made"]
    assert first in seen
    assert all(not any(entry.iterdir()) for entry in tmp.iterdir())
    assert set(seen) == {entry.name for entry in tmp.iterdir()}
