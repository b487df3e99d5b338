"""Git's bundles without git: what stands at the head of one, and how one is written. Pure.

A bundle is a head with references and prerequisites, and a pack. We read version 2, and version 3 where it says nothing
that version 2 cannot: another hash than SHA-1 and filtered objects are refused.
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, BinaryIO, NamedTuple

from mesh.errors import BadInput
from mesh.git_objects import Object
from mesh.text import printable

MAX_BUNDLE_BYTES = 50 * 1024**2
"""Bytes of a bundle that is pushed, at most."""

MAX_HEADS = 100
"""References of a bundle that is pushed, at most."""

_MAX_LINE, _MAX_LINES = 4096, 10_000
_FIRST = {b"# v2 git bundle\n": 2, b"# v3 git bundle\n": 3}
_HEAD = re.compile(r"([0-9a-f]{40}) (\S.*)")
_NEEDED = re.compile(r"-([0-9a-f]{40})(?: .*)?")


class BadBundle(BadInput):
    """A bundle is not valid, or needs what is not there."""


class BundleTooLarge(BadInput):
    """A bundle brings more than one push may."""


class BundleHead(NamedTuple):
    """What a bundle says of itself: hashes with names, the commits that it builds on, and where its pack begins."""

    heads: tuple[tuple[str, str], ...]
    needed: tuple[str, ...]
    pack_at: int


def read_head(file: BinaryIO) -> BundleHead:
    """Return the head of a bundle.

    Args:
        file: the bundle, from its first byte.

    Raises:
        BadBundle: it is not a bundle, or one that we do not take.
        BundleTooLarge: it has too many lines.
    """
    version = _FIRST.get(file.readline(_MAX_LINE))
    if version is None:
        raise BadBundle("invalid bundle: it does not begin with `# v2 git bundle`; make one with `git bundle create`")
    heads, needed = dict[tuple[str, str], None](), dict[str, None]()
    for line in _lines(file):
        if version == 3 and line.startswith("@"):
            _check_capability(line)
        elif found := _NEEDED.fullmatch(line):
            needed[found[1]] = None
        elif found := _HEAD.fullmatch(line):
            heads[found[1], found[2]] = None
        else:
            raise BadBundle(f"invalid bundle: its head has the line {printable(line, 80)!r}")
    if not heads:
        raise BadBundle("invalid bundle: bundle contains no refs; name one, as in `git bundle create FILE HEAD`")
    if len(heads) > MAX_HEADS:
        raise BundleTooLarge(f"bundle too large: it has {len(heads)} references; push at most {MAX_HEADS} at a time")
    return BundleHead(tuple(heads), tuple(needed), file.tell())


def _lines(file: BinaryIO) -> Iterator[str]:
    """Yield the lines of a head up to the empty one that ends it."""
    for _ in range(_MAX_LINES):
        line = file.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise BadBundle("invalid bundle: its head is cut off")
        if line == b"\n":
            return
        yield line[:-1].decode("utf-8", "replace")
    raise BundleTooLarge(
        f"bundle too large: it has more than {_MAX_LINES:,} lines before its pack; push fewer references"
    )


def _check_capability(line: str) -> None:
    name, _, value = line[1:].partition("=")
    if name == "object-format" and value != "sha1":
        raise BadBundle(f"invalid bundle: its hashes are {printable(value, 20)}; we have those of SHA-1 alone")
    if name == "filter":
        raise BadBundle("invalid bundle: a filter has left out some of its objects; make it without --filter")
    if name != "object-format":
        raise BadBundle(f"invalid bundle: it needs {printable(name, 40)!r}, which we do not have; use --version=2")


def write_bundle(
    file: IO[bytes], heads: Sequence[tuple[str, str]], needed: Iterable[str], objects: Iterable[Object], count: int
) -> None:
    """Write a bundle.

    Args:
        file: where to; it is written from where it stands.
        heads: hashes and names of the references.
        needed: hashes of commits that whoever reads it must have.
        objects: the objects of its pack.
        count: how many there are.
    """
    lines = [b"# v2 git bundle", *(f"-{each}".encode() for each in needed)]
    lines += [f"{each} {name}".encode() for each, name in heads]
    file.write(b"\n".join([*lines, b"", b""]))
    total = hashlib.sha1(usedforsecurity=False)

    def put(data: bytes) -> None:
        total.update(data)
        file.write(data)

    put(b"PACK" + (2).to_bytes(4, "big") + count.to_bytes(4, "big"))
    for kind, body in objects:
        put(_object_head(kind, len(body)) + zlib.compress(body, 6))
    file.write(total.digest())


def _object_head(kind: int, size: int) -> bytes:
    """Return the first bytes of an object in a pack: its kind, and its size in groups of bits, the lowest first."""
    head, rest = bytearray([kind << 4 | size & 15]), size >> 4
    while rest:
        head[-1] |= 128
        head.append(rest & 127)
        rest >>= 7
    return bytes(head)
