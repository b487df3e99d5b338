"""A user whose files are for nobody else has the same sandbox as others, and is told where it is weaker."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_worker.sandbox_choice import choose_tier, closed_to_trials
from mesh.events import Scored, WorkerJoined
from mesh.memory import MemoryHub
from mesh.settings import make_home
from tests.test_worker import Arena

IS_ROOT = os.geteuid() == 0


@pytest.fixture
def closed() -> Iterator[None]:
    """The umask of somebody whose files are for nobody else."""
    mask = os.umask(0o077)
    yield
    os.umask(mask)


async def test_a_fresh_home_has_the_tier_that_any_other_home_has(tmp_path: Path, closed: None) -> None:
    os.umask(0o022)
    usual = (await choose_tier("auto", tmp_path / "usual" / "runs"))[0]
    os.umask(0o077)
    make_home(tmp_path / "home" / ".mesh")
    assert (await choose_tier("auto", tmp_path / "home" / ".mesh" / "runs"))[0] == usual
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path / "new")
    await arena.open()
    end = await arena.run("(out / 'score.json').write_text(json.dumps({'loss': 1.5}))")
    assert isinstance(end.outcome, Scored), end
    assert [joined.tier for joined in await arena.all(WorkerJoined)] == [usual]
    assert os.umask(0o077) == 0o077


def test_a_folder_that_trials_cannot_enter_is_named_with_the_cure(tmp_path: Path, closed: None) -> None:
    folder = tmp_path / "closed" / "runs"
    folder.mkdir(parents=True)
    first = next(path for path in (*reversed(folder.parents), folder) if not path.stat().st_mode & 0o001)
    found = closed_to_trials("C", folder)
    assert closed_to_trials("A", folder) is None
    if not IS_ROOT:
        assert found is None
        return
    assert found is not None
    mode = first.stat().st_mode & 0o777
    assert found[0] == f"tier B runs trials as other users, which cannot enter {first} (mode {mode:o})"
    assert found[1].startswith(f"run `chmod o+x {first}`")
