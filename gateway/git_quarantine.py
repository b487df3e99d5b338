"""Unpacks a pack that somebody pushed, by git itself, in a folder of its own: nothing of ours changes if it is refused.

`git index-pack --strict` checks every object and every link. It gets no environment of ours and no configuration, and
the kernel bounds its CPU seconds, memory and files.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import anyio

from gateway.git_bundle import MAX_BUNDLE_BYTES, BadBundle
from mesh.errors import HostTrouble
from mesh.file_trees import delete
from mesh.git_objects import Object
from mesh.text import printable

UNPACK_WITHIN_S = 60.0
"""Seconds for git to unpack a bundle."""

_CPU_S, _MEMORY_KB, _FILE_BLOCKS = 30, 1024 * 1024, 512 * 1024 * 1024 // 512
_LIMITED = f'ulimit -c 0; ulimit -t {_CPU_S}; ulimit -v {_MEMORY_KB}; ulimit -f {_FILE_BLOCKS}; exec "$@"'
_PREFIX, _LEFT_BEHIND_S = "mesh-push-", 3600.0
_HEAD = "ref: refs/heads/none\n"
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"


class Quarantine:
    """The objects of one pushed pack; `read` blocks."""

    def __init__(self, folder: Path) -> None:
        import pygit2

        self._odb = pygit2.Odb(str(folder / "objects"))

    def read(self, name: str) -> Object | None:
        """Return an object by its hash; None if the pack has none of that hash."""
        try:
            kind, body = self._odb.read(name)
        except (KeyError, ValueError):
            return None
        return int(kind), body


@asynccontextmanager
async def quarantined(bundle: BinaryIO, pack_at: int, beside: Path) -> AsyncIterator[Quarantine]:
    """Unpack the pack of a bundle into a folder that is deleted afterwards.

    Args:
        bundle: the bundle.
        pack_at: where its pack begins.
        beside: a folder with objects that the pack may build on.

    Raises:
        BadBundle: git refuses the pack, or needs too much for it.
        HostTrouble: git is not there.
    """
    git = shutil.which("git")
    if git is None:
        raise HostTrouble("this gateway has no git, which unpacks what is pushed; install git on its machine")
    await anyio.to_thread.run_sync(_delete_left_behind)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        for name in ("objects/pack", "objects/info", "refs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "HEAD").write_text(_HEAD, encoding="ascii")
        (folder / "config").write_text(_CONFIG, encoding="ascii")
        await _index_pack(git, bundle, pack_at, folder, beside)
        yield await anyio.to_thread.run_sync(Quarantine, folder)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(delete, folder)


def _delete_left_behind() -> None:
    """Delete the folders of pushes whose gateway was killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            found = folder.lstat()
            if found.st_uid == os.getuid() and found.st_mtime < time.time() - _LEFT_BEHIND_S:
                delete(folder)


async def _index_pack(git: str, bundle: BinaryIO, pack_at: int, folder: Path, beside: Path) -> None:
    os.lseek(bundle.fileno(), pack_at, os.SEEK_SET)
    command = ["/bin/sh", "-c", _LIMITED, "sh", git, "index-pack", "--stdin", "--strict", "--fix-thin", "--threads=1"]
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "LC_ALL": "C",
        "GIT_DIR": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": '"' + str(beside).replace("\\", "\\\\").replace('"', '\\"') + '"',
    }
    try:
        with anyio.fail_after(UNPACK_WITHIN_S):
            done = await anyio.run_process(
                [*command, f"--max-input-size={MAX_BUNDLE_BYTES}"],
                stdin=bundle,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=False,
                cwd=folder,
                env=environment,
            )
    except TimeoutError:
        raise BadBundle(f"invalid bundle: git did not unpack it within {UNPACK_WITHIN_S:.0f} s; push less") from None
    if done.returncode:
        raise BadBundle(f"invalid bundle: {_why(done.stderr, done.returncode)}")


def _why(said: bytes, code: int) -> str:
    """Return what git has said, in a line."""
    lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.startswith(("error:", "fatal:"))]
    if not lines:
        return f"git ended with {code} while it unpacked it: it needs too much memory or time, or is damaged"
    return "; ".join(printable(line.partition(": ")[2], 160) for line in lines[:2])
