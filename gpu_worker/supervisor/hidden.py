"""Memory and disk space that no resident size and no folder shows: memfd, shared memory, files that are deleted.

Where there is no control group, this is all that sees them. A file without a name is found by who has it open, or
mapped; the kernel shows the size of a mapped one that is closed to root alone, for others its mapped part counts. The
standard library alone.
"""

import os
import re
import stat
from collections.abc import Collection
from contextlib import suppress

_SHM = "/dev/shm"
_MAPPED = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ ([0-9a-f]+):([0-9a-f]+) (\d+) +(/.*)$", re.MULTILINE)

_Files = dict[tuple[int, int], tuple[bool, int]]
"""By device and inode: whether it is memory, and bytes."""


def hidden_mb(own: Collection[int], *, since: float, users: Collection[int]) -> tuple[float, float]:
    """Return the MB of memory, and of disk, that processes have beside their resident memory and their folders.

    Files in `/dev/shm` are memory. Those that no process has open are taken to be of `own` where they are new.

    Args:
        own: the processes.
        since: Unix time at which they began.
        users: the user ids of their files in `/dev/shm`.
    """
    files: _Files = {}
    for pid in own:
        files |= _mapped(pid) | _opened(pid)
    memory = sum(size for is_memory, size in files.values() if is_memory)
    memory += max(map(_private_shm, own), default=0)
    memory += _closed_shm(own, files, since, users)
    if memory:
        memory = max(0, memory - sum(map(_resident_shm, own)))
    return memory / 1024**2, sum(size for is_memory, size in files.values() if not is_memory) / 1024**2


def counted_once_mb(pid: int) -> float | None:
    """Return the MB of a process in which its part of a page counts that others have too; None where none is shown.

    Such pages are those of a library, and those of its parent that it has not written. Shared memory counts in full.
    """
    with suppress(OSError, KeyError, ValueError), open(f"/proc/{pid}/smaps_rollup") as lines:
        next(lines, "")
        sizes = {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in lines)}
        return (sizes["Pss_Anon"] + sizes["Pss_File"]) / 1024 + _resident_shm(pid) / 1024**2
    return None


def _opened(pid: int) -> _Files:
    found: _Files = {}
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                link = os.readlink(f"{folder}/{name}")
                if _is_hidden(link):
                    found |= _sized(f"{folder}/{name}", link)
    return found


def _mapped(pid: int) -> _Files:
    found: _Files = {}
    with suppress(OSError), open(f"/proc/{pid}/maps", "rb") as maps:
        text = maps.read()
        if b" (deleted)\n" not in text and _SHM.encode() not in text:
            return {}
        for start, end, major, minor, inode, path in _MAPPED.findall(text):
            link = os.fsdecode(path)
            if not _is_hidden(link) or link.startswith("/dev/zero"):  # what is shared and has no name is resident
                continue
            key, size = (os.makedev(int(major, 16), int(minor, 16)), int(inode)), int(end, 16) - int(start, 16)
            found[key] = (_is_memory(link), found.get(key, (True, 0))[1] + size)
            with suppress(OSError):
                found |= _sized(f"/proc/{pid}/map_files/{start.decode()}-{end.decode()}", link)
    return found


def _sized(path: str, link: str) -> _Files:
    now = os.stat(path)
    return {(now.st_dev, now.st_ino): (_is_memory(link), now.st_blocks * 512)} if stat.S_ISREG(now.st_mode) else {}


def _is_hidden(link: str) -> bool:
    return link.endswith(" (deleted)") or _is_memory(link)


def _is_memory(link: str) -> bool:
    return link.startswith(("/memfd:", f"{_SHM}/"))


def _private_shm(pid: int) -> int:
    """Return the bytes in a process's own `/dev/shm`, 0 where it shares that of the machine."""
    with suppress(OSError):
        own = f"/proc/{pid}/root{_SHM}"
        if os.stat(own).st_dev != os.stat(_SHM).st_dev:
            size = os.statvfs(own)
            return (size.f_blocks - size.f_bfree) * size.f_frsize
    return 0


def _closed_shm(own: Collection[int], files: _Files, since: float, users: Collection[int]) -> int:
    """Return the bytes of files in the machine's `/dev/shm` that came since then, and that nobody else has open."""
    found: _Files = {}
    with suppress(OSError), os.scandir(_SHM) as entries:
        for entry in entries:
            with suppress(OSError):
                now = entry.stat(follow_symlinks=False)
                if now.st_uid in users and now.st_ctime >= since and stat.S_ISREG(now.st_mode):
                    found[now.st_dev, now.st_ino] = True, now.st_blocks * 512
    if found := {key: file for key, file in found.items() if key not in files}:
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in own:
                for key in _mapped(int(name)) | _opened(int(name)):
                    found.pop(key, None)
    return sum(size for _, size in found.values())


def _resident_shm(pid: int) -> int:
    """Return the bytes of shared memory that count as resident memory of a process."""
    with suppress(OSError), open(f"/proc/{pid}/status") as lines:
        for line in lines:
            if line.startswith("RssShmem:"):
                return int(line.split()[1]) * 1024
    return 0
