"""The objects of an arena that stand in groups, in a stream of their own that keeps every group for good.

An object is moved in this order: its group is written, read back and compared, and only then is the object deleted. So
at any moment it can be read in one place or the other, whoever is killed when, and however many move objects at once.
"""

from collections import OrderedDict
from collections.abc import Iterable

import anyio
import anyio.to_thread
import msgspec

from mesh import wire
from mesh.errors import BusRefused, HostTrouble, ObjectMissing
from mesh.jetstream.link import Link
from mesh.jetstream.objects import Chunk, ObjectStream
from mesh.jetstream.streams import GROUPS, groups_stream, make_stream
from mesh.object_groups import (
    MAX_GROUP_OBJECTS,
    GroupedObject,
    can_be_grouped,
    groups_with,
    pack_group,
    split_into_groups,
    unpack_group,
)

_AT_ONCE = 32
"""Most unanswered questions at a time."""
_KEPT = 4
"""Groups that a reader keeps in memory."""


class Moved(msgspec.Struct):
    """What was moved, or would be: objects and their bytes, and the groups they went to and their bytes.

    `known` more objects stood in a group already and were only deleted.
    """

    objects: int = 0
    bytes: int = 0
    groups: int = 0
    group_bytes: int = 0
    known: int = 0


class GroupedObjects:
    """The groups of one arena, which are made of the objects in `single`."""

    def __init__(self, link: Link, arena: str, single: ObjectStream) -> None:
        self._link, self._arena, self._single = link, arena, single
        self._stream = ObjectStream(
            link, arena, GROUPS + arena, lambda name, number: wire.group_subject(arena, name, number)
        )
        self._names: list[str] = []
        self._kept: OrderedDict[str, dict[str, GroupedObject]] = OrderedDict()
        self._turn = anyio.Lock()

    async def find(self, name: str) -> bytes | None:
        """Return the bytes of an object that stands in a group; None if it stands in none.

        Raises:
            ObjectMissing: a group that may have it is damaged.
        """
        if not can_be_grouped(name):
            return None
        trouble: ObjectMissing | None = None
        tried: set[str] = set()
        for is_fresh in (False, True):
            if is_fresh:
                self._names = list(await self._stream.names())
            for group in groups_with(name, self._names):
                if group not in tried:
                    tried.add(group)
                    try:
                        if member := (await self._members(group)).get(name):
                            return await anyio.to_thread.run_sync(getattr, member, "stored")
                    except ObjectMissing as error:
                        trouble = error
        if trouble:
            raise trouble
        return None

    async def _members(self, group: str) -> dict[str, GroupedObject]:
        async with self._turn:
            if group not in self._kept:
                self._kept[group] = await self._read(group)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(group)
            return self._kept[group]

    async def _read(self, group: str) -> dict[str, GroupedObject]:
        data = await self._stream.get(group, is_listed=True)
        return await anyio.to_thread.run_sync(unpack_group, group, data)

    async def move(self, names: Iterable[str], *, settle_s: float = 0.0, only_count: bool = False) -> Moved:
        """Move those of some objects that stand alone into groups.

        Args:
            names: names of objects.
            settle_s: seconds to wait between writing groups and deleting objects, where the server syncs later.
            only_count: write and delete nothing.

        Raises:
            BusRefused: the server lets nobody delete an object of this arena.
            HostTrouble: a group does not read back as it was written.
        """
        if await self._single.keeps_all():
            why = "it was opened by an earlier version, and its server lets nobody delete an object"
            raise BusRefused(f"the objects of arena {self._arena} cannot be moved: {why}")
        stored = await self._single.names()
        wanted = sorted((n for n in set(names) if stored.get(n) == 1 and can_be_grouped(n)), key=lambda n: (len(n), n))
        del stored
        moved, waiting = Moved(), list[int]()
        for start in range(0, len(wanted), MAX_GROUP_OBJECTS):
            waiting += await self._copy(wanted[start : start + MAX_GROUP_OBJECTS], moved, only_count=only_count)
            if not settle_s and not only_count:
                await self._delete(waiting)
                waiting.clear()
        if waiting and not only_count:
            await anyio.sleep(settle_s)
            await self._delete(waiting)
        return moved

    async def _copy(self, names: list[str], moved: Moved, *, only_count: bool) -> list[int]:
        """Write the groups of some objects; return the sequences of the objects that then stand in one."""
        chunks = await self._chunks(names)
        done: list[int] = []
        left: dict[str, bytes] = {}
        for name, chunk in chunks.items():
            moved.bytes += len(chunk.data)
            if await self._has(name, chunk.data):
                done.append(chunk.seq)
                moved.known += 1
            else:
                left[name] = chunk.data
        for members in await anyio.to_thread.run_sync(split_into_groups, left):
            group, data = await anyio.to_thread.run_sync(pack_group, members)
            if not only_count:
                await self._write(group, data, {member.name: left[member.name] for member in members})
            done += [chunks[member.name].seq for member in members]
            moved.objects += len(members)
            moved.groups += 1
            moved.group_bytes += len(data)
        return done

    async def _chunks(self, names: list[str]) -> dict[str, Chunk]:
        """Return the only messages of some objects; those that somebody else has moved meanwhile are left out."""
        found: dict[str, Chunk] = {}
        left = iter(names)

        async def get_more() -> None:
            for name in left:
                try:
                    chunk = await self._single.chunk(name)
                except ObjectMissing:
                    continue
                if chunk.count == 1:
                    found[name] = chunk

        async with anyio.create_task_group() as tasks:
            for _ in range(_AT_ONCE):
                tasks.start_soon(get_more)
        return found

    async def _has(self, name: str, data: bytes) -> bool:
        try:
            return await self.find(name) == data
        except ObjectMissing:
            return False

    async def _write(self, group: str, data: bytes, objects: dict[str, bytes]) -> None:
        await make_stream(self._link, groups_stream(self._arena))
        await self._stream.put(group, data)
        back = await self._read(group)
        if not await anyio.to_thread.run_sync(lambda: {n: m.stored for n, m in back.items()} == objects):
            raise HostTrouble(f"group {group} of arena {self._arena} does not read back as it was written")

    async def _delete(self, seqs: list[int]) -> None:
        left = iter(seqs)

        async def delete_more() -> None:
            for seq in left:
                await self._single.delete(seq)

        async with anyio.create_task_group() as tasks:
            for _ in range(_AT_ONCE):
                tasks.start_soon(delete_more)
