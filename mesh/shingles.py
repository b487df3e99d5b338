"""Fingerprints of contents: equal runs of bytes, words or numbers have equal fingerprints, wherever they stand.

A shingle is a run of 32 bytes, or of 12 numbers. Which ones count depends on their own contents alone, so both sides
choose the same ("0 mod p" sampling of Schleimer, Wilkerson and Aiken 2003). Text is compared by its letters and
digits: case, white space, punctuation and separators do not matter. Numbers are compared by the shape of 12 in a row:
neither the way they are written nor a common scale and offset matters.
"""

import bz2
import io
import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Prints = NDArray[np.uint64]

MAX_STREAM_BYTES = 64 * 1024 * 1024
"""Bytes that are looked at of one file, or of one member of an archive, after decompression."""
MODULUS = 128
"""One of this many shingles of bytes counts."""
LENGTH = 32

_SLICES = 16
_MAX_NUMBERS = 100_000
_ROW = 12
_NUMBERS_MODULUS = 8
_MIN_VALUES, _MIN_PAIRS = 6, 12
"""Different values among 12 numbers, and different pairs of neighbours in 32 bytes, that a rare shingle has."""
_CHUNK = 256 * 1024
_MAX_DEPTH, _MAX_MEMBERS = 3, 10_000
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_MARKS = bytes(c for c in range(128) if not (48 <= c < 58 or 65 <= c < 91 or 97 <= c < 123))
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_PACKED: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lzma.LZMADecompressor,
}
_DAMAGES = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
_TAG = 0x9E3779B97F4A7C15


def streams(file: BinaryIO, limit: int = MAX_STREAM_BYTES, depth: int = 0) -> Iterator[bytes]:
    """Yield the contents of a file: of its members if it is a zip (npz, whl, jar), unpacked if it is gz, bz2 or xz.

    What is damaged is yielded as far as it goes.

    Args:
        file: the file, at its start; it must be able to seek.
        limit: bytes to yield; of a larger file that is not packed, slices from start to end.
        depth: how deep this file is in archives.
    """
    head = file.read(6)
    file.seek(0)
    if head[:4] == b"PK\x03\x04" and depth < _MAX_DEPTH:
        left = 16 * limit
        with suppress(*_DAMAGES), zipfile.ZipFile(file) as archive:
            for member in archive.infolist()[:_MAX_MEMBERS]:
                with suppress(*_DAMAGES), archive.open(member) as opened:
                    inner = opened.read(min(limit, left))
                    left -= len(inner)
                    yield from streams(io.BytesIO(inner), limit, depth + 1)
                if left <= 0:
                    break
        return
    for magic, opener in _PACKED.items():
        if head.startswith(magic) and depth < _MAX_DEPTH:
            with suppress(*_DAMAGES):
                unpacked = opener().decompress(file.read(limit), limit)
                yield from streams(io.BytesIO(unpacked), limit, depth + 1)
            return
    size = file.seek(0, io.SEEK_END)
    if size <= limit or (head == b"\x93NUMPY" and size <= 16 * limit):
        file.seek(0)
        yield file.read(size)
        return
    parts = []
    for number in range(_SLICES):
        file.seek((size - limit // _SLICES) * number // (_SLICES - 1))
        parts.append(file.read(limit // _SLICES))
    yield b"\n".join(parts)


def is_text(data: bytes) -> bool:
    """Tell whether contents look like text."""
    return b"\0" not in data[:8192]


def canonical(data: bytes) -> bytes:
    """Return the letters and digits of a text, in lower case."""
    return data.translate(_LOWER, _MARKS)


def prints_of(data: bytes, *, modulus: int = MODULUS, both: bool = False) -> "Prints":
    """Return the fingerprints of one stream that are rare enough to be looked for, each once.

    Args:
        data: the contents.
        modulus: one of this many shingles of bytes counts; a divisor of MODULUS counts all that MODULUS counts.
        both: fingerprint text as raw bytes too, to find it in a file that does not look like text.
    """
    text = is_text(data)
    found = [bytes_prints(canonical(data) if text else data, modulus, rare=True)]
    if text and both:
        found.append(bytes_prints(data, modulus, rare=True))
    found.append(number_prints(data, rare=True))
    return sorted_once(found)


def bytes_prints(data: bytes, modulus: int = MODULUS, *, rare: bool = False) -> "Prints":
    """Return the fingerprints of bytes as they are; `rare` leaves out those that many files have by chance."""
    import numpy as np

    factors = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
    bound, found = np.uint32(2**32 // modulus - 1), [np.empty(0, np.uint64)]
    span = np.arange(LENGTH)
    for start in range(0, len(data) - LENGTH + 1, _CHUNK):
        piece = data[start : start + _CHUNK + LENGTH - 1]
        starts = []
        for offset in range(4):
            words = np.frombuffer(piece, "<u4", count=(len(piece) - offset) // 4, offset=offset)
            starts.append(np.flatnonzero(words * np.uint32(0x9E3779B1) <= bound) * 4 + offset)
        at = np.concatenate(starts)
        at = at[at <= len(piece) - LENGTH]
        if not len(at):
            continue
        shingles = np.frombuffer(piece, np.uint8)[at[:, None] + span]
        if rare:
            pairs = np.sort(shingles[:, :-1].astype(np.uint16) << 8 | shingles[:, 1:], axis=1)
            shingles = shingles[1 + np.count_nonzero(np.diff(pairs, axis=1), axis=1) >= _MIN_PAIRS]
        words8 = shingles.view("<u8")
        found.append(_mixed((words8 ^ (words8 >> np.uint64(31))) * factors))
    return sorted_once(found)


def number_prints(data: bytes, *, rare: bool = False) -> "Prints":
    """Return the fingerprints of the numbers of one stream, none where it does not consist of them; see there."""
    import numpy as np

    values = numbers_in(data)
    if len(values) < _ROW:
        return np.empty(0, np.uint64)
    rows = np.lib.stride_tricks.sliding_window_view(values, _ROW)
    low, high = rows.min(axis=1, keepdims=True), rows.max(axis=1, keepdims=True)
    keep = (high > low)[:, 0]
    rows, low, high = rows[keep], low[keep], high[keep]
    shape = np.rint((rows - low) / (high - low) * 1999).astype(np.uint64)
    if rare:
        ordered = np.sort(shape, axis=1)
        shape = shape[1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1) >= _MIN_VALUES]
    factors = np.array([(_TAG * (2 * n + 3) ^ (n << 17)) % 2**64 | 1 for n in range(_ROW)], np.uint64)
    found = _mixed(shape * factors) ^ np.uint64(_TAG)
    return sorted_once([found[found % np.uint64(_NUMBERS_MODULUS) == 0]])


def sorted_once(parts: "list[Prints]") -> "Prints":
    """Return all fingerprints of several arrays, each once, in order."""
    import numpy as np

    every = np.sort(np.concatenate(parts))  # np.unique hashes first, which is slower
    result: Prints = every[np.diff(every, prepend=every[:1] ^ np.uint64(1)) != 0]
    return result


def _mixed(columns: "Prints") -> "Prints":
    import numpy as np

    total = columns.sum(axis=1, dtype=np.uint64)
    total ^= total >> np.uint64(29)
    total *= np.uint64(0xBF58476D1CE4E5B9)
    result: Prints = total ^ (total >> np.uint64(32))
    return result


def numbers_in(data: bytes) -> "NDArray[np.float64]":
    """Return the first numbers of an `.npy` file, or of a text that consists mostly of numbers, in order."""
    import numpy as np

    none = np.empty(0, np.float64)
    if data[:6] == b"\x93NUMPY":
        array = _array_of(data)
        if array is None or array.dtype.kind not in "iufb":
            return none
        values = array.reshape(-1)[:_MAX_NUMBERS].astype(np.float64)
    else:
        head = data[:4096]
        digits = len(head.translate(None, _NOT_DIGITS))
        if digits < 24 or 4 * digits < len(head) or digits < 2 * len(head.translate(None, _NOT_LETTERS)):
            return none
        if not is_text(data):
            return none
        words = _NUMBER.findall(data[: 8 * _MAX_NUMBERS])[:_MAX_NUMBERS]
        values = np.array(words).astype(np.float64)
    bounded: NDArray[np.float64] = values[np.isfinite(values) & (np.abs(values) < 1e100)]
    return bounded


_NOT_DIGITS = bytes(c for c in range(256) if not 48 <= c < 58)
_NOT_LETTERS = bytes(c for c in range(256) if not (65 <= c < 91 or 97 <= c < 123))


def _array_of(data: bytes) -> "NDArray[Any] | None":
    """Return the array of an `.npy` file, None if it cannot be read; old and odd files are passed over silently."""
    import numpy as np

    with warnings.catch_warnings(action="ignore"):
        try:
            found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
        except Exception:  # whatever a file has in its header
            return None
    return found


def rows_of(data: bytes) -> int:
    """Return how many rows contents have: of an `.npy` array, or lines of a text; 0 if they have none."""
    if data[:6] == b"\x93NUMPY":
        array = _array_of(data)
        return int(array.shape[0]) if array is not None and array.ndim else 0
    return len(data.rstrip(b"\n").split(b"\n")) if data and is_text(data) else 0
