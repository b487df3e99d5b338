"""The leak audit: looks for an arena's private data in all that a trial can read, when the data is made.

It looks in Python and its packages, `/usr/share` and the rest of the system, also inside of gz, bz2, xz and zip files
(npz, whl), and in the arena's own files and public data. Its time is bounded, and it begins where data is likely. It
finds copies: of text in any layout, of bytes, of runs of numbers in any notation and scale. It does not find what is
encrypted, reworded, or shorter than about two kilobytes, and it knows this machine alone.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, thread_time
from typing import TYPE_CHECKING

import msgspec

from mesh.leak_index import File, FileGroup, Index, Walk, groups_of, prints_of_group
from mesh.shingles import MAX_STREAM_BYTES, canonical, is_text, prints_of, rows_of, sorted_once, streams

if TYPE_CHECKING:
    from mesh.shingles import Prints

AUDIT_WITHIN_S = 15.0
"""CPU seconds that looking through the machine may take; it may wait twice as long besides. Half as much again may go
into reading the files in which something was found."""
LEAST, SHARE = 16, 0.01
"""Different shingles of a private file, and the share of all of its shingles, that must be found for a leak."""

_MAX_PRINTS = 32_768
_COMMON_GROUPS, _COMMON_NAMES = 12, 8
"""What is in so many groups of files, or in files of so many names, is common knowledge."""
_MAX_READ_AGAIN, _READ_AGAIN_BYTES = 80, 16 * 1024 * 1024
_WHOLE, _LEAST_ROWS, _LEAST_LINE = 0.95, 20, 4
_OWN_MODULUS = 8
_BOILERPLATE = re.compile(r"licen[cs]e|copying|copyright|notice|authors|metadata|pkg-info", re.IGNORECASE)

Contents = Path | bytes


class Secrets(msgspec.Struct, frozen=True):
    """What no trial may know, by names to report.

    `private` must not be as a whole in the arena's own files. `derived`, such as the source of the data, may be there.
    What the arena's own files have of a secret is not looked for elsewhere.
    """

    private: Mapping[str, Contents]
    derived: Mapping[str, Contents]


class Leak(msgspec.Struct, frozen=True):
    """A secret of which a share (0 to 1) was found in a file that trials can read, and in `others` more."""

    secret: str
    path: str
    share: float
    others: int = 0

    def __str__(self) -> str:
        more = f" and {self.others:,} more files" if self.others else ""
        return f"{self.share:.0%} of {self.secret} is in {self.path}{more}, which every trial can read"


class Findings(msgspec.Struct, frozen=True):
    """The leaks, and how many of the readable bytes were looked through; both are 0 if nothing was to be looked for."""

    leaks: list[Leak]
    looked_bytes: int = 0
    total_bytes: int = 0


def audit(
    secrets: Secrets,
    own: Mapping[str, Contents],
    cache: Path,
    *,
    roots: Sequence[str],
    within_s: float | None = None,
) -> Findings:
    """Look for secrets in the arena's own files and in all files below `roots`.

    Args:
        secrets: what to look for.
        own: files of the arena that trials may read, by names to report.
        cache: file that keeps fingerprints of the system's files; a damaged one is not believed.
        roots: folders of the system that trials may read, the likeliest first.
        within_s: CPU seconds for the system's files; None is `AUDIT_WITHIN_S`.
    """
    import numpy as np

    leaks = [leak for name, place in secrets.private.items() for leak in _in_own(name, place, own)]
    found = {leak.secret for leak in leaks}
    known = sorted_once([_prints(place, bounded=False) for place in own.values()] or [_prints(b"")])
    wanted = {
        name: np.setdiff1d(_prints(place), known, assume_unique=True)
        for name, place in {**secrets.private, **secrets.derived}.items()
        if name not in found
    }
    small = [prints for prints in wanted.values() if len(prints) < LEAST]
    wanted = {name: prints for name, prints in wanted.items() if len(prints) >= LEAST}
    if small and len(together := sorted_once(small)) >= LEAST:
        wanted["the small private files"] = together
    if not wanted:
        return Findings(leaks)
    elsewhere, looked, total = _in_system(wanted, cache, roots, AUDIT_WITHIN_S if within_s is None else within_s)
    return Findings(leaks + elsewhere, looked, total)


def questions(public: Mapping[str, Path], private: Mapping[str, Path]) -> list[str]:
    """Return the public files that have a row for each row of a private one: who knows these rows has the answers.

    A header may make a difference of one line.
    """
    rows = {count for path in private.values() for count in _rows(path)}
    near = {count + more for count in rows if count >= _LEAST_ROWS for more in (-1, 0, 1)}
    return [name for name, path in public.items() if near.intersection(_rows(path))]


def _rows(path: Path) -> list[int]:
    return [rows_of(stream) for stream in _streams(path)]


def _streams(place: Contents) -> Iterator[bytes]:
    if isinstance(place, bytes):
        yield from streams(io.BytesIO(place), MAX_STREAM_BYTES)
        return
    with suppress(OSError), place.open("rb") as file:
        yield from streams(file, MAX_STREAM_BYTES)


def _prints(place: Contents, *, bounded: bool = True) -> "Prints":
    every = sorted_once([prints_of(stream, both=True) for stream in _streams(place)] or [prints_of(b"")])
    return every[:_MAX_PRINTS] if bounded else every  # the smallest: a sample by contents


def _in_own(name: str, place: Contents, own: Mapping[str, Contents]) -> list[Leak]:
    """Return where the whole secret, or all of its lines, is in one of the arena's own files."""
    import numpy as np

    mine = [stream for stream in _streams(place) if len(stream) >= 32 and len(set(stream)) > 1]
    lines = {line for stream in mine for line in _lines(stream)}
    if not mine:
        return []
    prints = sorted_once([prints_of(stream, modulus=_OWN_MODULUS) for stream in mine])
    for theirs, other in own.items():
        have = list(_streams(other))
        share = 0.0
        if any(stream in have for stream in mine):
            share = 1.0
        elif len(lines) >= _LEAST_ROWS:
            share = len(lines & {line for stream in have for line in _lines(stream)}) / len(lines)
        elif len(prints) >= LEAST and have:
            found = sorted_once([prints_of(stream, modulus=_OWN_MODULUS) for stream in have])
            share = len(np.intersect1d(prints, found, assume_unique=True)) / len(prints)
        if share >= _WHOLE:
            return [Leak(name, theirs, share)]
    return []


def _lines(stream: bytes) -> Iterable[bytes]:
    if is_text(stream):
        found = (canonical(line) for line in stream.split(b"\n"))
        yield from (line for line in found if len(line) >= _LEAST_LINE)


def _in_system(
    wanted: Mapping[str, "Prints"], cache: Path, roots: Sequence[str], within_s: float
) -> tuple[list[Leak], int, int]:
    import numpy as np

    cpu, wall = thread_time(), monotonic()
    every, index, walk = sorted_once(list(wanted.values())), Index(cache), Walk()
    matched: list[tuple[FileGroup, Prints]] = []
    seen: list[FileGroup] = []
    binaries: list[File] = []
    looked = total = 0
    left = list(roots)
    while left or binaries:
        if left and monotonic() - wall < 3 * within_s and thread_time() - cpu < within_s:
            files, last = walk.files(left.pop(0))
            binaries += last
        else:
            files, left, last, binaries = binaries, [], [], []  # without time, what is left is not even counted
        total += sum(file.size for file in files)
        for group in groups_of(files):
            if thread_time() - cpu > within_s or monotonic() - wall > 3 * within_s:
                break
            if (prints := index.get(group)) is None:
                index.put(group, prints := prints_of_group(group))
            seen.append(group)
            looked += group.size
            at = np.minimum(np.searchsorted(every, prints), len(every) - 1)
            if len(hits := prints[every[at] == prints]):
                matched.append((group, hits))
    index.save(seen)
    return _attribute(wanted, matched, within_s / 2), looked, total


def _attribute(
    wanted: Mapping[str, "Prints"], matched: list[tuple[FileGroup, "Prints"]], within_s: float
) -> list[Leak]:
    """Return the leaks: files are read again one by one, and what many files have does not count.

    It begins where the most was found, and ends without having read all when its time is up.
    """
    import numpy as np

    cpu, wall = thread_time(), monotonic()
    every = sorted_once([*wanted.values(), *(hits for _, hits in matched)])
    in_groups = Counter(int(each) for _, hits in matched for each in hits)
    common = {each for each, count in in_groups.items() if count >= _COMMON_GROUPS}
    rare = [(group, sum(int(each) not in common for each in hits)) for group, hits in matched]
    by_file: dict[str, Prints] = {}
    names: dict[int, set[str]] = {}
    for group, _ in sorted((pair for pair in rare if pair[1]), key=lambda pair: -pair[1])[:_MAX_READ_AGAIN]:
        if by_file and (thread_time() - cpu > within_s or monotonic() - wall > 3 * within_s):
            break
        for file in group.files:
            here = np.intersect1d(prints_of_group(FileGroup((file,)), _READ_AGAIN_BYTES), every, assume_unique=True)
            if len(here):
                by_file[file.path] = here
            if _BOILERPLATE.search(name := Path(file.path).name):
                common.update(map(int, here))
            for each in map(int, here):
                names.setdefault(each, set()).add(name)
    common |= {each for each, found in names.items() if len(found) >= _COMMON_NAMES}
    known = np.array(sorted(common), np.uint64)
    leaks = []
    for name, prints in wanted.items():
        ours = {path: np.setdiff1d(np.intersect1d(here, prints), known) for path, here in by_file.items()}
        ours = {path: here for path, here in ours.items() if len(here)}
        found = len(sorted_once(list(ours.values()))) if ours else 0
        if found >= max(LEAST, SHARE * len(prints)):
            worst = max(ours, key=lambda path: len(ours[path]))
            leaks.append(Leak(name, worst, found / len(prints), len(ours) - 1))
    return leaks
