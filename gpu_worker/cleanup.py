"""Removes what dead workers of a home folder left behind: processes, folders, control groups."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from gpu_worker.folders import make_enterable, sweep_outside
from gpu_worker.sandbox import shared_memory
from gpu_worker.sandbox.tiers import FIRST_UID, UIDS, free_uids
from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.mark import kill_marked, kill_users, pids, user_of
from mesh.errors import HostTrouble
from mesh.file_trees import delete


def claim_folder(folder: Path, token: str) -> None:
    """Write to a folder of runs which process owns it, and the token that its processes carry.

    It writes as much as a small run would, so that a full disk shows here.

    Raises:
        HostTrouble: the folder cannot be written to.
    """
    try:
        make_enterable(folder)
        process = psutil.Process()
        (folder / "owner").write_bytes(msgspec.json.encode([process.pid, process.create_time()]))
        (folder / f"{token}.token").write_bytes(b"x" * 65536)
    except OSError as error:
        raise HostTrouble(f"{folder} cannot be written to: {error.strerror}") from None


def clear_leftovers(runs: Path) -> None:
    """Kill processes of dead workers, delete their folders in this home folder, and remove their control groups."""
    cgroup.sweep()
    if os.geteuid() == 0:
        _kill_nobodies()
    for folder in runs.iterdir() if runs.is_dir() else ():
        try:
            pid, created = msgspec.json.decode((folder / "owner").read_bytes(), type=tuple[int, float])
            if psutil.pid_exists(pid) and psutil.Process(pid).create_time() == created:
                continue
        except psutil.NoSuchProcess:
            pass
        except (OSError, msgspec.MsgspecError, ValueError):
            continue
        with suppress(FileNotFoundError):  # another worker that starts now clears the same folder
            for token in list(folder.glob("*.token")):
                kill_marked(token.stem)
            for run in filter(Path.is_dir, list(folder.iterdir())):
                sweep_outside(run)
        delete(folder)


def _kill_nobodies() -> None:
    """End the processes, and delete the shared memory, of user ids for trials that no living worker has locked."""
    found = {*(user_of(pid) for pid in pids()), *shared_memory.owners()} & set(range(FIRST_UID, FIRST_UID + UIDS))
    with free_uids(found) as free:
        if free:
            kill_users(free)
            shared_memory.sweep_users(free)
