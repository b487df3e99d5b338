"""Groups of small objects: a thousand objects in one, so that a server has fewer to keep.

The name of a group says which objects may be in it: how long their names are, where the first and the last of them
begin, and the start of the sha256 of the group. Packs of commits (`mesh.code`) stand in it without their compression,
so that versions of one file cost little; they are compressed again when they are read.
"""

import hashlib
import lzma
import re
import zlib
from collections.abc import Iterable, Mapping

import msgspec

from mesh.errors import ObjectMissing
from mesh.git_objects import is_hash

MAX_GROUP_OBJECTS = 1000
"""Objects in a group, at most."""

MAX_GROUP_BYTES = 32 * 1024 * 1024
"""Bytes of the objects of a group together, as they stand in it, at most."""

_PACK_LEVEL = 6
"""The level at which `mesh.code` compresses packs."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": 8 * 1024 * 1024}]
_MEMORY_BYTES = 64 * 1024 * 1024
_START = 12
_NAME = re.compile(r"g(\d{1,3})-([A-Za-z0-9]{12})-([A-Za-z0-9]{12})-([0-9a-f]{16})")
_GROUPED = re.compile(r"[A-Za-z0-9]{12,128}")


class GroupedObject(msgspec.Struct, frozen=True, array_like=True):
    """An object in a group; `is_plain` if its bytes were compressed before, as those of a pack."""

    name: str
    is_plain: bool
    data: bytes

    @property
    def stored(self) -> bytes:
        """The bytes of the object."""
        return zlib.compress(self.data, _PACK_LEVEL) if self.is_plain else self.data


_ENCODE, _DECODE = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(list[GroupedObject])


def can_be_grouped(name: str) -> bool:
    """Tell whether an object of this name may stand in a group."""
    return _GROUPED.fullmatch(name) is not None


def split_into_groups(objects: Mapping[str, bytes]) -> list[list[GroupedObject]]:
    """Return objects as the members of groups that are small enough, sorted; what is too large alone is left out."""
    groups: list[list[GroupedObject]] = []
    room = 0
    for name in sorted(objects):
        member = _member(name, objects[name])
        if len(member.data) > MAX_GROUP_BYTES:
            continue
        if (
            not groups
            or len(member.data) > room
            or len(groups[-1]) == MAX_GROUP_OBJECTS
            or len(groups[-1][0].name) != len(name)
        ):
            groups.append([])
            room = MAX_GROUP_BYTES
        groups[-1].append(member)
        room -= len(member.data)
    return groups


def _member(name: str, data: bytes) -> GroupedObject:
    if is_hash(name):
        unpacker = zlib.decompressobj()
        try:
            plain = unpacker.decompress(data, MAX_GROUP_BYTES)
        except zlib.error:
            return GroupedObject(name, False, data)
        if unpacker.eof and zlib.compress(plain, _PACK_LEVEL) == data:
            return GroupedObject(name, True, plain)
    return GroupedObject(name, False, data)


def pack_group(members: list[GroupedObject]) -> tuple[str, bytes]:
    """Return the name and the bytes of the group of these members, as `split_into_groups` returns them."""
    data = lzma.compress(_ENCODE.encode(members), check=lzma.CHECK_CRC64, filters=_FILTERS)
    first, last = members[0].name, members[-1].name
    digest = hashlib.sha256(data).hexdigest()[:16]
    return f"g{len(first)}-{first[:_START]}-{last[:_START]}-{digest}", data


def unpack_group(group: str, data: bytes) -> dict[str, GroupedObject]:
    """Return the members of a group by their names.

    Raises:
        ObjectMissing: its bytes are not those that its name says, or are damaged.
    """
    if hashlib.sha256(data).hexdigest()[:16] != group.rpartition("-")[2]:
        raise ObjectMissing(f"group {group} is damaged: its contents do not match its name")
    try:
        unpacker = lzma.LZMADecompressor(memlimit=_MEMORY_BYTES)
        plain = unpacker.decompress(data, 2 * MAX_GROUP_BYTES)
        return {member.name: member for member in _DECODE.decode(plain)}
    except (lzma.LZMAError, msgspec.MsgspecError, EOFError, MemoryError) as error:
        raise ObjectMissing(f"group {group} is damaged: {error}") from None


def groups_with(name: str, groups: Iterable[str]) -> list[str]:
    """Return those of some groups that may have an object of this name."""
    found, start = [], name[:_START]
    for group in groups:
        parts = _NAME.fullmatch(group)
        if parts and int(parts[1]) == len(name) and parts[2] <= start <= parts[3]:
            found.append(group)
    return found
