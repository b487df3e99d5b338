"""A worker that cannot run an arena tells everybody what it lacks: nobody reads the output of a machine in a fleet."""

from pathlib import Path

import msgspec
import pytest

from gpu_worker.worker import run_worker
from mesh.errors import HostTrouble
from mesh.events import NotePosted, WorkerJoined
from mesh.memory import MemoryHub
from mesh.spec import WorkerSpec
from tests.test_worker import SPEC, Arena

LACK = "arena a demands sandbox tier A, but this worker has tier E"


async def test_it_says_so_on_the_board_once_however_often_the_fleet_tries_again(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(msgspec.structs.replace(SPEC, worker=WorkerSpec(tier="A")))
    for name in ("one", "two", "three"):
        with pytest.raises(HostTrouble, match=LACK):
            await run_worker(arena.bus, name=name, slots=1, device="cpu", home=arena.home, sandbox="none")
    [note] = await arena.all(NotePosted)
    assert note.channel == "ops"
    assert note.text.startswith("a worker of class cpu")
    assert note.text.endswith(f" does not join: {LACK}")
    assert await arena.all(WorkerJoined) == []
