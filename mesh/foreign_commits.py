"""Reads commits of other people's repositories, in a process of its own: a damaged repository cannot stop ours.

The library of git may wait for ever on a damaged object, and nothing but SIGKILL ends it then. So this module is also
the program that reads: `python -m mesh.foreign_commits FOLDER` answers every line of its input, the name of a commit,
with a line of base64.
"""

import base64
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from mesh.errors import BadInput
from mesh.safe_path import PYTHON

if TYPE_CHECKING:
    import pygit2

READ_WITHIN_S = 20.0
"""Seconds after which a commit that cannot be read counts as damaged."""

_MOST_BYTES = 1024**3


class ForeignCommit(msgspec.Struct, frozen=True):
    """A commit with its objects: the hash of the commit, and kind and body of each object, the commit last."""

    commit: str = ""
    objects: list[tuple[int, bytes]] = []
    error: str = ""


async def read_commits(folder: Path, names: Sequence[str]) -> dict[str, ForeignCommit]:
    """Return the commits of a repository by the names that were asked for; those that it lacks are left out.

    Args:
        folder: the repository.
        names: full or short hashes, or any other names that git accepts for a commit.

    Raises:
        BadInput: the folder is not a git repository.
    """
    found: dict[str, ForeignCommit] = {}
    waiting = list(dict.fromkeys(names))
    while waiting:
        process = await anyio.open_process(
            [*PYTHON, "mesh.foreign_commits", str(folder.absolute())], stdin=subprocess.PIPE, stderr=None
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            answers = BufferedByteReceiveStream(process.stdout)
            while waiting:
                name = waiting.pop(0)
                answer = await _ask(process.stdin, answers, name)
                if answer is None:
                    break  # this commit cannot be read; a new process reads the others
                if answer.error:
                    raise BadInput(f"{folder} is not a git repository: {answer.error}")
                if answer.commit:
                    found[name] = answer
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.kill()
                await process.aclose()
    return found


async def _ask(
    questions: anyio.abc.ByteSendStream, answers: BufferedByteReceiveStream, name: str
) -> ForeignCommit | None:
    try:
        with anyio.fail_after(READ_WITHIN_S):
            await questions.send(base64.b64encode(name.encode("utf-8", "surrogateescape")) + b"\n")
            line = await answers.receive_until(b"\n", _MOST_BYTES)
        return msgspec.msgpack.decode(base64.b64decode(line), type=ForeignCommit)
    except (
        TimeoutError,
        OSError,
        ValueError,
        msgspec.MsgspecError,
        anyio.IncompleteRead,
        anyio.DelimiterNotFound,
        anyio.BrokenResourceError,
        anyio.EndOfStream,
    ):
        return None


def _serve(folder: str, questions: IO[bytes], answers: IO[bytes]) -> None:
    import pygit2

    try:
        repository = pygit2.Repository(folder)
    except (pygit2.GitError, OSError, ValueError) as error:
        repository, refused = None, str(error) or "it cannot be opened"
    for line in questions:
        name = base64.b64decode(line).decode("utf-8", "surrogateescape")
        answer = ForeignCommit(error=refused) if repository is None else _read(repository, name)
        answers.write(base64.b64encode(msgspec.msgpack.encode(answer)) + b"\n")
        answers.flush()


def _read(repository: "pygit2.Repository", name: str) -> ForeignCommit:
    import pygit2

    try:
        commit = repository.revparse_single(name).peel(pygit2.Commit)
        names = [*_below(commit.tree), commit.id]
        objects = [(int(kind), body) for kind, body in map(repository.odb.read, names)]
        return ForeignCommit(str(commit.id), objects)
    except (KeyError, ValueError, OSError, pygit2.GitError):
        return ForeignCommit()


def _below(tree: "pygit2.Tree") -> "Iterator[pygit2.Oid]":
    """Return the hashes of a tree and of the trees and blobs below it."""
    import pygit2

    seen: dict[pygit2.Oid, None] = {}
    todo = [tree]
    while todo:
        folder = todo.pop()
        seen[folder.id] = None
        for item in folder:
            if isinstance(item, pygit2.Tree):
                todo.append(item)
            elif isinstance(item, pygit2.Blob):
                seen[item.id] = None
    return iter(seen)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
