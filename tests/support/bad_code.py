"""Commits that no honest author shares: their packs, and what they claim to be."""

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from mesh import git_objects as git
from mesh.git_objects import BLOB, COMMIT, TREE, Object
from mesh.git_tree import add_object
from mesh.testing import BEGAN, git_hash

READABLE = {
    "a link", "the file as a link", "a submodule", "the file as a submodule", "odd modes", "the file as a folder",
    "without the file", "other protected files", "another tree than it claims", "a file that is no text",
    "a deep expression", "the file twice", "a file b'-rf'", "a file b'\\n\\x1b[2J'", "a file b'\\xff\\xfe'",
    "a file b'.git '", "a file b'aaaaaaaaaaaaaaaaaaaa'",
}  # fmt: skip
"""What can be read, though it may not be run."""


class Bad(NamedTuple):
    """A proposal by a hostile author: what it is, its tree and commit, and the object under the commit's name."""

    what: str
    tree: str
    commit: str
    pack: bytes | None
    base: bytes | None = None


def pack_of(objects: list[Object], base: str = "") -> bytes:
    return zlib.compress(msgspec.msgpack.encode((base, objects)), 1)


def bomb(head: bytes, unit: bytes, times: int) -> bytes:
    """Return the zlib stream of `head` and so many `unit`s; each is compressed once, so that a bomb is made at once."""
    packer, check = zlib.compressobj(wbits=-zlib.MAX_WBITS), zlib.adler32(head)
    first, again = (packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (head, unit))
    for _ in range(times):
        check = zlib.adler32(unit, check)
    return b"\x78\x9c" + first + again * times + packer.flush() + check.to_bytes(4)


def raw_tree(*items: tuple[str, bytes, str]) -> bytes:
    """Return the body of a tree of modes, names and hashes, unsorted and unchecked."""
    return b"".join(mode.encode() + b" " + name + b"\x00" + bytes.fromhex(named) for mode, name, named in items)


def made(what: str, *items: tuple[str, bytes, Any], claims: str = "", drop: bool = False) -> Bad:
    """Return a commit of one tree of modes, names and contents (a hash as it is)."""
    objects: dict[str, Object] = {}
    lines = [
        (mode, name, body if isinstance(body, str) else add_object(BLOB, body, objects)) for mode, name, body in items
    ]
    tree = add_object(TREE, raw_tree(*lines), objects)
    body = git.commit_body(tree, [], author="eve", at=BEGAN, message=what)
    commit = add_object(COMMIT, body, objects)
    objects[add_object(TREE, b"", {})] = TREE, b""
    kept = [found for name, found in objects.items() if not drop or name in (tree, commit)]
    return Bad(what, claims or tree, commit, pack_of(kept))


def nested(depth: int) -> Bad:
    objects: dict[str, Object] = {}
    inner = add_object(BLOB, b"x", objects)
    tree = add_object(TREE, raw_tree(("100644", b"train.py", inner)), objects)
    for _ in range(depth):
        tree = add_object(TREE, raw_tree(("40000", b"d", tree)), objects)
    body = git.commit_body(tree, [], author="eve", at=BEGAN, message=str(depth))
    commit = add_object(COMMIT, body, objects)
    return Bad(f"{depth:,} folders", tree, commit, pack_of([*objects.values()]))


def bad_commits(train: bytes) -> dict[str, Callable[[], Bad]]:
    """Return what makes proposals that are broken, each in another way; `train` is the arena's editable file.

    Some take a second to make, so each is made by the test that needs it.
    """
    plain = ("100644", b"train.py", train + b"\n# eve\n")
    return {
        "a bomb of zeros": lambda: unshared("a bomb of zeros", bomb(b"", b"\x00" * 1_000_000, 300)),
        "a bomb of objects": lambda: unshared(
            "a bomb of objects", bomb(b"\x92\xa0\xdd" + (10**7).to_bytes(4), b"\x92\x01\xc4\x00" * 10**5, 100)
        ),
        "300,000 files": lambda: made("300,000 files", *(("100644", b"f%d" % n, "e" * 40) for n in range(300_000))),
        "5,000 folders": partial(nested, 5000),
        **{bad.what: partial(lambda bad: bad, bad) for bad in _small(plain)},
    }


def unshared(what: str, pack: bytes | None) -> Bad:
    """Return a proposal of a tree and a commit that nobody has, and of a pack of its own."""
    return Bad(what, git_hash(f"tree of {what}"), git_hash(what), pack)


def _small(plain: tuple[str, bytes, bytes]) -> Iterator[Bad]:
    for what, pack in (
        ("nobody shared it", None),
        ("an empty pack", b""),
        ("no zlib", b"garbage" * 100),
        ("cut off", made("cut", plain).pack[:-20]),  # type: ignore[index]
        ("no msgpack", zlib.compress(b"\xc1")),
        ("another shape", zlib.compress(msgspec.msgpack.encode({"base": 1}))),
        ("nested msgpack", zlib.compress(b"\x93\xa0\x90" + b"\x91" * 100_000 + b"\xc0")),
        ("an unknown kind", pack_of([(99, b"x"), (2**60, b"y"), (-1, b"z")])),
        ("another commit", made("another", plain).pack),
        ("a base that is itself", pack_of([], git_hash("a base that is itself"))),
        ("a base that is no hash", pack_of([], "../../etc/passwd")),
        ("a base that nobody shared", pack_of([], "d" * 40)),
    ):
        yield unshared(what, pack)
    tree = add_object(TREE, raw_tree(), {})
    yield Bad("a tree", git_hash("a tree"), tree, pack_of([(TREE, raw_tree())]))
    for what, body in (
        ("an empty commit", b""),
        ("a commit of no tree", b"author x <x> 1 +0000\n\n"),
        ("a commit of a missing tree", b"tree " + b"e" * 40 + b"\nauthor x <x> 1 +0000\n\nm"),
        ("a commit of itself", b"tree " + git_hash("x").encode() + b"\n" + b"parent " + b"0" * 400_000),
    ):
        yield Bad(what, git_hash(what), git.object_name(COMMIT, body), pack_of([(COMMIT, body)]))
    for name in (
        b"../x",
        b"..",
        b".git",
        b".GIT",
        b"a/b",
        b"",
        b"\xff\xfe",
        b"a" * 5000,
        b"-rf",
        b"\n\x1b[2J",
        b".git ",
    ):
        yield made(f"a file {name[:20]!r}", plain, ("100644", name, b"x"))
    yield made("a tree that is cut off", plain)._replace(pack=pack_of([(TREE, b"100644 x")]))
    yield made("the file twice", plain, ("100644", b"train.py", b"other"))
    yield made("a link", plain, ("120000", b"link", b"/etc/passwd"))
    yield made("the file as a link", ("120000", b"train.py", b"/etc/passwd"))
    yield made("a submodule", plain, ("160000", b"sub", "c" * 40))
    yield made("the file as a submodule", ("160000", b"train.py", "c" * 40))
    yield made("odd modes", plain, ("100755", b"run", b"#!/bin/sh"), ("777", b"odd", b""), ("104755", b"suid", b""))
    yield made("the file as a folder", ("40000", b"train.py", add_object(TREE, b"", {})))
    yield made("without the file", ("100644", b"other.py", b"x = 1\n"))
    yield made("other protected files", plain, ("100644", b"score.py", b'print("{\\"loss\\": 0}")\n'))
    yield made("a missing blob", plain, drop=True)
    yield made("another tree than it claims", plain, claims=git_hash("claimed"))
    yield made("a file that is no text", ("100644", b"train.py", bytes(range(256))))
    yield made("a deep expression", ("100644", b"train.py", b"x = " + b"(" * 100_000))
