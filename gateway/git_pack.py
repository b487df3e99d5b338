"""What a pack of git would unpack to, found before git sees it: how many objects, how large, of which kinds.

Every object is inflated and thrown away, so that a pack that lies about a size, is cut off, or unpacks to far more than
it has (a delta says how large its result is) is refused within the time that reading it takes.
"""

import zlib
from typing import BinaryIO, NamedTuple

from gateway.git_bundle import BadBundle, BundleTooLarge

MAX_PUSHED_OBJECTS = 50_000
"""Objects of a pack that is pushed, at most."""
MAX_OBJECT_BYTES_PUSHED = 32 * 1024**2
"""Bytes of one object of such a pack, at most."""
MAX_UNPACKED_BYTES_PUSHED = 256 * 1024**2
"""Bytes of all its objects, at most: of the results of deltas as well."""

_OFFSET, _REFERENCE = 6, 7
_KINDS = {1, 2, 3, 4, _OFFSET, _REFERENCE}
_PIECE, _INFLATED, _HASH = 4096, 64 * 1024, 20
_CUT = "invalid bundle: its pack is cut off or damaged; make it again with `git bundle create`"


class PackSize(NamedTuple):
    """The objects of a pack, and the bytes that they unpack to."""

    objects: int
    bytes: int


def measure_pack(file: BinaryIO) -> PackSize:
    """Return what a pack unpacks to.

    Args:
        file: the pack, from its first byte; it ends with the file.

    Raises:
        BadBundle: it is not a pack, or cut off, or damaged.
        BundleTooLarge: it has more objects or bytes than a push may have.
    """
    reader = _Reader(file)
    if reader.take(4) != b"PACK" or int.from_bytes(reader.take(4), "big") not in (2, 3):
        raise BadBundle("invalid bundle: there is no pack in it; make it again with `git bundle create`")
    count, total = int.from_bytes(reader.take(4), "big"), 0
    if count > MAX_PUSHED_OBJECTS:
        raise BundleTooLarge(f"bundle too large: it has {count:,} objects, a push at most {MAX_PUSHED_OBJECTS:,}")
    for _ in range(count):
        total += _measure_object(reader)
        if total > MAX_UNPACKED_BYTES_PUSHED:
            most = MAX_UNPACKED_BYTES_PUSHED // 1024**2
            raise BundleTooLarge(f"bundle too large: it unpacks to more than {most} MiB")
    reader.take(_HASH)
    if reader.has_more():
        raise BadBundle("invalid bundle: bytes follow its pack; send the file as `git bundle create` writes it")
    return PackSize(count, total)


def _measure_object(reader: "_Reader") -> int:
    """Return the bytes of the next object, or of the result of the next delta."""
    byte = reader.byte()
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 128:
        byte = reader.byte()
        size |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise BadBundle(_CUT)
    if kind not in _KINDS:
        raise BadBundle(_CUT)
    if kind == _REFERENCE:
        reader.take(_HASH)
    elif kind == _OFFSET:
        while reader.byte() & 128:
            pass
    if size > MAX_OBJECT_BYTES_PUSHED:
        raise _too_large(size)
    head = reader.inflate(size)
    if kind in (_OFFSET, _REFERENCE):
        result = _delta_result(head)
        if result > MAX_OBJECT_BYTES_PUSHED:
            raise _too_large(result)
        return size + result
    return size


def _too_large(size: int) -> BundleTooLarge:
    most = MAX_OBJECT_BYTES_PUSHED // 1024**2
    return BundleTooLarge(f"bundle too large: an object in it has {size:,} bytes, a push takes files up to {most} MiB")


def _delta_result(head: bytes) -> int:
    """Return the size of the result of a delta, its second number."""
    numbers, at = list[int](), 0
    for _ in range(2):
        value = shift = 0
        while True:
            if at >= len(head) or shift > 63:
                raise BadBundle(_CUT)
            value |= (head[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if head[at - 1] < 128:
                break
        numbers.append(value)
    return numbers[1]


class _Reader:
    """Reads a file with a buffer, and inflates what stands in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._data, self._at = file, b"", 0

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if len(self._data) - self._at < size:
            self._data = self._data[self._at :] + self._file.read(max(_PIECE, size))
            self._at = 0
            if len(self._data) < size:
                raise BadBundle(_CUT)
        self._at += size
        return self._data[self._at - size : self._at]

    def byte(self) -> int:
        """Return the next byte."""
        if self._at >= len(self._data):
            return self.take(1)[0]
        self._at += 1
        return self._data[self._at - 1]

    def has_more(self) -> bool:
        """Tell whether anything follows."""
        return self._at < len(self._data) or bool(self._file.read(1))

    def inflate(self, size: int) -> bytes:
        """Inflate what follows, which must have `size` bytes, and return the first of them."""
        unpacker, found, head = zlib.decompressobj(), 0, b""
        while not unpacker.eof:
            data = unpacker.unconsumed_tail or self._rest()
            if not data:
                raise BadBundle(_CUT)
            try:
                plain = unpacker.decompress(data, _INFLATED)
            except zlib.error:
                raise BadBundle(_CUT) from None
            found += len(plain)
            head += plain[: max(0, 32 - len(head))]
            if found > size:
                raise BadBundle(_CUT)
        if found != size:
            raise BadBundle(_CUT)
        self._data, self._at = unpacker.unused_data, 0
        return head

    def _rest(self) -> bytes:
        """Return what is left of the buffer, else the next piece of the file."""
        data = self._data[self._at :] or self._file.read(_PIECE)
        self._data, self._at = b"", 0
        return data
