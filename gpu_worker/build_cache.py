"""Has trials of compiled languages begin with what the build of the accepted artifact left (`artifact.cache`).

A scored run of the accepted artifact that was built from nothing fills a base, once for each version of its files,
environment, toolchain and machine. Later trials get a copy of their own. What the build of a proposal leaves goes away
with its run. A base that is damaged, half written or out of room counts as missing: the trial builds from nothing.
"""

import fcntl
import hashlib
import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import msgspec

from gpu_worker.build_base import Base, DamagedBase, TooMuch, copy_base, read_base, write_base
from gpu_worker.build_sources import StartsFromNothing, changed_sources
from gpu_worker.sandbox.tiers import Tier
from gpu_worker.task_environment import TaskEnvironment
from mesh import arena, settings
from mesh.disk import free_bytes
from mesh.events import ArenaOpened
from mesh.file_trees import delete, open_folder, walk
from mesh.hidden_files import is_hidden

FORMAT = 1
ALL_BASES_BYTES = 10 * 1024**3
"""Bytes of all bases of a home; the least recently used goes first."""
SPARE_BYTES = 1024**3
"""Bytes that stay free on the disk beside a base, or beside a copy of it."""
UNCHANGED_NS = 10**18
"""The time of files as in the accepted artifact (2001), which is before that of all that is built from them."""
COMPILERS = (
    *("cc", "c++", "gcc", "g++", "clang", "clang++", "tcc", "nvcc", "hipcc", "rustc", "cargo", "go", "zig"),
    *("ld", "ld.lld", "ld.gold", "ar", "as", "make", "gmake", "ninja", "cmake", "meson"),
)
PACKAGES = ("/var/lib/dpkg/status", "/lib/apk/db/installed", "/var/lib/rpm/rpmdb.sqlite", "/var/lib/pacman/local")
"""Files that change whenever a package of the system is installed or updated: a compiler, a library with headers."""

_read: dict[Path, Base] = {}
"""The bases that this process has read and found right, by their folders."""
_reading = threading.Lock()


class Builds(msgspec.Struct, frozen=True):
    """The bases of a home.

    Args:
        folder: where they lie.
        at: an empty folder at which processes of every trial see their artifact.
        machine: hash of the system, the device and the worker's Python.
    """

    folder: Path
    at: Path
    machine: str

    def of(self, opened: ArenaOpened, accepted: Mapping[str, bytes], environment: TaskEnvironment) -> "BuildCache":
        """Return the base for the runs of an arena.

        Args:
            opened: the arena.
            accepted: the files of its accepted artifact, with those that the worker adds.
            environment: that of its processes.

        Raises:
            OSError: this machine cannot make the folders.
        """
        self.at.mkdir(mode=0o755, parents=True, exist_ok=True)
        spec = opened.spec
        key = (
            spec.name,
            opened.data,
            spec.trial.command,
            spec.score.command,
            environment.mixed_with(self.machine),
            environment.python,
            sorted(environment.variables.items()),
            environment.path,
            settings.host(),
            _processor(),
            toolchain(environment.path, environment.readable),
        )
        never = spec.score.file
        return BuildCache(self.folder, key, spec.artifact.cache, accepted, never, self.at)


class BuildCache:
    """The base of one run: its trial begins with it, or fills it.

    Args:
        folder: where all bases of the home lie.
        key: what the base depends on.
        patterns: `artifact.cache`.
        accepted: files of the accepted artifact, with those that the worker adds.
        never: a file that is never kept, such as one that the score is read from; "" for none.
        at: where processes of the trial see the artifact.
    """

    def __init__(
        self,
        folder: Path,
        key: Sequence[object],
        patterns: Sequence[str],
        accepted: Mapping[str, bytes],
        never: str,
        at: Path,
    ) -> None:
        self._folder, self._patterns, self._accepted, self._never, self.at = folder, patterns, accepted, never, at
        parts = [FORMAT, arena.hash_of(accepted.items()), list(patterns), str(at), *key]
        self.place = folder / hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
        self._files: Mapping[str, bytes] = {}
        self.told = ""
        """What became of it, for people: "used", "filled", "built from nothing" with the reason, "" for nothing yet."""

    def begin(self, trial: Path, files: Mapping[str, bytes]) -> None:
        """Have a trial begin with the base, where it can; call it when its files are laid out.

        Args:
            trial: the new folder of the trial.
            files: the files that were laid out in it.

        Raises:
            OSError: this machine cannot write to the folder.
        """
        self._files = files
        changed = {name for name, body in files.items() if self._accepted.get(name) != body}
        base, why = None, ""
        try:
            changed = changed_sources(self._accepted, files)
            base, why = self._found(changed)
        except StartsFromNothing as reason:
            why = str(reason)
        folders = _set_times(trial, changed)
        if base is not None:
            try:
                copy_base(base, trial)
                with suppress(OSError):
                    os.utime(self.place)  # it was used
            except (DamagedBase, OSError) as error:
                with _reading:
                    _read.pop(self.place, None)
                base, why = None, f"the base cannot be copied: {error}"
        for path, ns in reversed(folders):
            os.utime(path, ns=(ns, ns))
        self.told = "used" if base is not None else f"built from nothing: {why}"

    def fill(self, trial: Path) -> None:
        """Keep what the build of the accepted artifact left; do nothing if others were built or there is a base.

        Args:
            trial: the folder of the trial that `begin` has prepared, of which no process lives.
        """
        if self.told == "used" or dict(self._files) != dict(self._accepted) or self.place.exists():
            return
        try:
            with locked(self._folder) as is_mine:
                if is_mine and not self.place.exists():
                    self._write(trial)
        except (OSError, TooMuch) as error:
            self.told = f"built from nothing, and not kept: {error}"

    def _write(self, trial: Path) -> None:
        for left in self._folder.glob("new-*"):
            delete(left)  # of a worker that was killed
        new = self._folder / f"new-{uuid.uuid4().hex}"
        try:
            room = min(ALL_BASES_BYTES, (free_bytes(self._folder) or ALL_BASES_BYTES) - SPARE_BYTES)
            write_base(new, trial, self._is_kept, max(0, room))
            make_room(self._folder, sum(each.stat().st_size for each in new.iterdir()))
            os.rename(new, self.place)
            self.told = "filled"
        finally:
            delete(new)

    def _is_kept(self, name: str) -> bool:
        return is_hidden(self._patterns, name) and name not in self._accepted and name != self._never

    def _found(self, changed: set[str]) -> tuple[Base | None, str]:
        """Return the base if this trial can begin with it, or None and why it cannot."""
        base = self._checked()
        if base is None:
            return None, "there is no base yet"
        if changed and base.newest_ns >= time.time_ns():
            return None, "the clock of this machine was set back"
        if (free_bytes(self._folder) or base.size + SPARE_BYTES) < base.size + SPARE_BYTES:
            return None, "the disk has too little room for a copy of the base"
        return base, ""

    def _checked(self) -> Base | None:
        with _reading:
            if (base := _read.get(self.place)) is None:
                try:
                    base = _read[self.place] = read_base(self.place)
                except FileNotFoundError:
                    return None
                except (DamagedBase, OSError, msgspec.MsgspecError):
                    delete(self.place)
                    return None
            return base


def why_not_cached(tier: Tier) -> str:
    """Return why trials in a sandbox tier build from nothing, "" where they begin with a base.

    Build tools keep absolute paths: only with mounts of its own sees every trial its artifact at the same one.
    """
    if tier == "A":
        return ""
    return f"built from nothing: sandbox tier {tier} does not show every trial its artifact at the same path"


def toolchain(path: str, readable: Sequence[str]) -> list[object]:
    """Return what changes when a compiler or a package of this machine does: inodes, sizes and times.

    Args:
        path: the PATH of a trial.
        readable: folders of tools beside the system's; what lies directly in them is looked at.
    """
    found: list[object] = []
    found.extend(_looks(place) for place in PACKAGES)
    for name in COMPILERS:
        program = shutil.which(name, path=path)
        found.append((name, program, _looks(program) if program else ()))
    for folder in readable:
        for inner in ("", "bin", "toolchains"):
            with suppress(OSError), os.scandir(os.path.join(folder, inner)) as listed:
                found.append(sorted((each.name, _looks(each.path)) for each in listed if not each.name.startswith(".")))
    return found


def make_room(folder: Path, more_bytes: int, most_bytes: int = ALL_BASES_BYTES) -> None:
    """Delete the least recently used bases until there is room for another one."""
    bases = []
    for place in folder.iterdir():
        with suppress(OSError):
            if place.is_dir() and not place.name.startswith("new-"):
                size = sum(each.stat().st_size for each in place.iterdir())
                bases.append((place.stat().st_mtime_ns, size, place))
    total = more_bytes + sum(size for _, size, _ in bases)
    for _, size, place in sorted(bases):
        if total <= most_bytes:
            return
        gone = folder / f"new-{uuid.uuid4().hex}"  # no trial begins with a half of it
        os.rename(place, gone)
        delete(gone)
        total -= size


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Lock the bases of a home for writing; False where another worker or slot writes one now."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _set_times(trial: Path, changed: set[str]) -> list[tuple[Path, int]]:
    """Give all files of a new folder an old time, and changed ones a new one; return the folders with theirs."""
    now, folders = time.time_ns(), list[tuple[Path, int]]()
    changed_in = {os.path.dirname(name) for name in changed}
    top = open_folder(trial)
    try:
        for path, here, entries in walk(top):
            folders.append((trial / path, now if path.rstrip("/") in changed_in else UNCHANGED_NS))
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    ns = now if path + entry.name in changed else UNCHANGED_NS
                    os.utime(entry.name, ns=(ns, ns), dir_fd=here, follow_symlinks=False)
    finally:
        os.close(top)
    return folders


@lru_cache
def _processor() -> str:
    """Return model and features of the processor: what is built for one may not run on another."""
    with suppress(OSError), open("/proc/cpuinfo", errors="replace") as file:
        lines = file.read(65536).partition("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part")))
    return platform.processor()


def _looks(path: str) -> tuple[object, ...]:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return (os.path.realpath(path), found.st_size, found.st_mtime_ns)
