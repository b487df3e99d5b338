"""Real git for tests of pushes: repositories, bundles, and an arena that takes them."""

import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from gateway.commit_index import CommitIndex
from gateway.log_index import IndexReader
from gateway.push import CommitLog, Pushed, push
from mesh.memory import MemoryBus
from mesh.spec import ArenaSpec
from mesh.testing import FILES, SPEC
from tests.support.doors import open_door

_ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ann"), ("EMAIL", "a@b"))
    },
}


class Git:
    """A git repository in a folder; it is made if it is not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.exists():
            folder.mkdir(parents=True)
            self("init", "-q", "-b", "main")

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        """Run git and return what it prints."""
        done = subprocess.run(["git", *words], cwd=self.folder, env=_ENVIRONMENT, input=stdin, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, bytes], message: str = "a change") -> str:
        """Commit files beside those that are there; return the hash of the commit."""
        for name, data in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(data)
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def bundle(self, *words: str, name: str = "push.bundle") -> Path:
        """Make a bundle, and return its file."""
        self("bundle", "create", "-q", f"../{name}", *words)
        return self.folder.parent / name


async def push_file(log: CommitLog, bundle: Path, author: str = "ann") -> Pushed:
    """Push the bundle in a file."""
    with bundle.open("rb") as file:
        return await push(log, file, author=author)


@asynccontextmanager
async def commit_log(
    folder: Path, files: Mapping[str, bytes] = FILES, spec: ArenaSpec = SPEC, bus: MemoryBus | None = None
) -> AsyncIterator[CommitLog]:
    """Open an arena as `open_door`, with an index of its commits."""
    async with open_door(folder, files, spec, bus) as door:
        index = CommitIndex()
        reader = IndexReader(door.bus, [index])
        await reader.catch_up()

        async def reached(seq: int) -> None:
            await reader.reached(seq)
            await door.follower.reached(seq)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.follow)
            yield CommitLog(door, index, reached)
            tasks.cancel_scope.cancel()
