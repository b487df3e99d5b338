"""What was read of an arena's folder, and how a line or two say what was taken and left out."""

from collections.abc import Collection

import msgspec

from mesh.leavings import CACHE, is_empty_folder
from mesh.text import printable

OPEN_KEYS = "may hold keys, and git does not ignore it"
_SHOWN = 3


class LeftOut(msgspec.Struct, frozen=True):
    """A file or folder that is left out: why, how many files it has, and how many bytes.

    `is_named`: a program of the arena names it. `is_odd`: it is left out because it cannot be taken.
    """

    path: str
    why: str
    files: int = 1
    size: int = 0
    is_named: bool = False
    is_odd: bool = False


class FolderRead(msgspec.Struct, frozen=True):
    """What was read of a folder: its files by path, what was left out, what git ignores and is taken all the same.

    `remarks` are sentences about what the user may not expect.
    """

    files: dict[str, bytes]
    left: tuple[LeftOut, ...] = ()
    taken_anyway: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def folder_lines(read: FolderRead) -> list[str]:
    """Return in a line or two what was taken and left out; nothing if there is nothing to say."""
    lines = []
    left = [each for each in read.left if not each.is_odd]
    if any(each.why != CACHE for each in left):
        largest = sorted(left, key=lambda each: (-each.size, each.path))[:_SHOWN]
        names = ", ".join(f"{printable(each.path)} ({each.why}, {size_words(each.size)})" for each in largest)
        rest = len(left) - len(largest)
        total = f"; {sum(each.files for each in left):,} files, {size_words(sum(each.size for each in left))} in all"
        more = f" and {rest} more{total}" if rest else ""
        size = size_words(sum(map(len, read.files.values())))
        count = sum(not is_empty_folder(name, data) for name, data in read.files.items())
        lines.append(
            f"the arena has {count:,} file{'s' if count != 1 else ''} ({size}); left out: {names}{more}. "
            'To take one: "!NAME" in artifact.ignore'
        )
    if keys := [each.path for each in left if each.why == OPEN_KEYS]:
        lines.append(f"given to no worker and no model, because of keys that may be in it: {some_names(keys)}")
    if odd := [each for each in read.left if each.is_odd]:
        shown = "; ".join(f"{printable(each.path)} {each.why}" for each in odd[:_SHOWN])
        lines.append(f"left out: {shown}{f' (and {len(odd) - _SHOWN} more such)' if odd[_SHOWN:] else ''}")
    if read.taken_anyway:
        names = some_names(read.taken_anyway)
        lines.append(f"taken although git ignores it, because a program names it: {names}")
    if named := [each.path for each in read.left if each.is_named]:
        first = printable(named[0])
        lines.append(
            f"warning: programs name {some_names(named)}, which is left out: they may write there; if they read it, "
            f'write ignore = ["!{first}"] under [artifact] in arena.toml'
        )
    return [*lines, *read.remarks]


def size_words(size: int) -> str:
    """Return a number of bytes in words."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}" if size < 999.5 * factor else f"{size / factor:,.0f} {unit}"
    return f"{size} byte{'s' if size != 1 else ''}"


def some_names(names: Collection[str]) -> str:
    """Return the first names in words, and how many there are beside them."""
    shown = [printable(name) for name in list(names)[:_SHOWN]]
    return ", ".join(shown) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
