"""Removes what dead workers of a home folder left behind: processes, folders, control groups."""

from pathlib import Path

import msgspec
import psutil

from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.client import kill_marked
from mesh.errors import HostTrouble
from mesh.file_trees import delete


def claim_folder(folder: Path, token: str) -> None:
    """Write to a folder of runs which process owns it, and the token that its processes carry.

    It writes as much as a small run would, so that a full disk shows here.

    Raises:
        HostTrouble: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        process = psutil.Process()
        (folder / "owner").write_bytes(msgspec.json.encode([process.pid, process.create_time()]))
        (folder / f"{token}.token").write_bytes(b"x" * 65536)
    except OSError as error:
        raise HostTrouble(f"{folder} cannot be written to: {error.strerror}") from None


def clear_leftovers(runs: Path) -> None:
    """Kill processes and delete folders of dead workers of this home folder, and remove empty control groups."""
    cgroup.sweep()
    for folder in runs.iterdir() if runs.is_dir() else ():
        try:
            pid, created = msgspec.json.decode((folder / "owner").read_bytes(), type=tuple[int, float])
            if psutil.pid_exists(pid) and psutil.Process(pid).create_time() == created:
                continue
        except psutil.NoSuchProcess:
            pass
        except (OSError, msgspec.MsgspecError):
            continue
        for token in folder.glob("*.token"):
            kill_marked(token.stem)
        delete(folder)
