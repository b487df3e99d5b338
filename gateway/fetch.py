"""`fetch`: a bundle with a commit and all that it comes from, made without git, from the log and the store alone.

Commits whose history was never shared, such as those that were imported, end the history of a bundle: it then builds on
their parents, which whoever reads it must have.
"""

from collections.abc import Iterator
from typing import IO

import anyio.to_thread

from gateway.commit_index import KnownCommit
from gateway.git_bundle import write_bundle
from gateway.push import CommitLog
from mesh.errors import ObjectMissing
from mesh.git_objects import Object


async def fetch(log: CommitLog, commit: KnownCommit, file: IO[bytes]) -> None:
    """Write a bundle of a commit with its whole history.

    Args:
        log: The arena.
        commit: The commit.
        file: Where to write it.

    Raises:
        ObjectMissing: The commit itself was never shared, or is damaged.
        BusError: The log cannot be reached.
    """
    await log.door.code.files(commit.commit, base=commit.root)
    history, needed = [commit.commit], dict[str, None]()
    seen, at = {commit.commit}, 0
    while at < len(history):
        for parent in log.door.code.parents(history[at]):
            if parent in seen:
                continue
            seen.add(parent)
            known = log.commits.get(parent)
            try:
                await log.door.code.files(parent, base=known.root if known else "")
            except ObjectMissing:
                needed[parent] = None
            else:
                history.append(parent)
        at += 1

    def objects() -> Iterator[Object]:
        had = set[str]()
        for each in history:
            yield from log.door.code.objects(each, had)

    def write() -> None:
        count = sum(1 for _ in objects())
        heads = [(commit.commit, f"refs/tmp/bundle-{commit.commit[:8]}")]
        write_bundle(file, heads, needed, objects(), count)

    await anyio.to_thread.run_sync(write)
