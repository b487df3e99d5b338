"""`commit_diff`: how two commits differ, as `git diff` writes it, within bounds and without git."""

import anyio.to_thread

from gateway.commit_index import KnownCommit
from gateway.push import CommitLog

MOST_DIFF = 1024 * 1024
"""Characters of a difference, at most; what is longer is cut, and its last line says so."""
_MOST_FILE, _MOST_LINES = 512 * 1024, 40_000
"""Bytes, and lines, of a file that is compared: libgit2 lets nobody else work meanwhile, 12 s for 260,000 lines."""


async def commit_diff(log: CommitLog, one: KnownCommit, other: KnownCommit) -> str:
    """Return how the files of one commit become those of another.

    Raises:
        ObjectMissing: the files of one were never shared.
        BusError: the log cannot be reached.
    """
    before, after = [await log.door.code.files(each.commit, base=each.root) for each in (one, other)]
    return await anyio.to_thread.run_sync(_diff, before, after)


def _diff(before: dict[str, bytes], after: dict[str, bytes]) -> str:
    parts, room = list[str](), MOST_DIFF
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        part = _file_diff(name, old, new)
        if len(part) > room:
            parts.append(f"{part[:room].rpartition(chr(10))[0]}\n… cut: the difference is too long\n")
            break
        parts.append(part)
        room -= len(part)
    return "".join(parts)


def _file_diff(name: str, old: bytes | None, new: bytes | None) -> str:
    import pygit2

    is_long = old is not None and new is not None and max(old.count(b"\n"), new.count(b"\n")) > _MOST_LINES
    if is_long or max(len(old or b""), len(new or b"")) > _MOST_FILE:
        return f"diff --git a/{name} b/{name}\nFiles a/{name} and b/{name} differ, and are too large to show\n"
    patch = pygit2.Patch.create_from(old, new, old_as_path=name, new_as_path=name)
    return bytes(patch.data).decode("utf-8", "replace")
