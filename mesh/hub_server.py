"""The nats-server of a hub: started from the hub's own configuration, watched, and ended.

It is a child that never outlives us, and has a lock on the store, so that two never open it. One that dies is started
again. `mesh.server` does the same for a home, on loopback and without accounts.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio

from mesh import store_lock
from mesh.disk import full_disk
from mesh.errors import BadInput, BusUnavailable, HostTrouble
from mesh.server import find_binary
from mesh.server_config import start_within_s
from mesh.server_process import end_process, kept_running, last_trouble, start_process
from mesh.store_lock import StoreLock

_WATCH_EVERY_S = 0.2
_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.2, 30.0
_LIVED_S = 30.0
"""A server that lived so long is started again at once."""


@asynccontextmanager
async def hub_server(folder: Path, config: Path, write: Callable[[], None]) -> AsyncIterator["HubServer"]:
    """Run the server of a hub while the block runs; start it again when it dies.

    Args:
        folder: the folder of this server: its lock, its log.
        config: its configuration.
        write: writes the configuration; called before each start.

    Raises:
        BadInput: nats-server was not found, or the folder cannot be used.
        BusUnavailable: another server has the store, or it does not start; the message has the last line of its log.
        HostTrouble: the disk is full.
    """
    server = HubServer(folder, config, write)
    with _alone(folder):
        await server.start()
        async with kept_running(server):
            yield server


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from starting the server while the block runs; this lock ends with us, not with it."""
    try:
        lock = os.open(folder / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(f"the folder {folder} of a hub cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusUnavailable(f"another mesh hub start runs the server of {folder}: end that one first") from None
        yield
    finally:
        os.close(lock)


class HubServer:
    """A handle on the server of a hub; `starts` counts how often it was started."""

    def __init__(self, folder: Path, config: Path, write: Callable[[], None]) -> None:
        self.folder, self.config = folder, config
        self.starts = 0
        self._write = write
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0

    @property
    def process(self) -> "subprocess.Popen[bytes]":
        """The process of the server."""
        assert self._process is not None, "start it first"
        return self._process

    async def start(self) -> None:
        """Start the server, and wait until it listens; raises as `hub_server`."""
        if full := full_disk(self.folder):
            raise HostTrouble(full)
        lock = await self._locked()
        try:
            self._write()
            log = self.folder / "server.log"
            with suppress(FileNotFoundError):
                log.replace(log.with_suffix(".log.1"))
            for old in self.folder.glob("nats-server_*.ports"):
                old.unlink(missing_ok=True)
            binary = find_binary()
            command = [binary, "-c", str(self.config), "--ports_file_dir", str(self.folder)]
            process = start_process(command, lock, log)
        except OSError as error:
            raise BadInput(f"the folder {self.folder} of a hub cannot be used: {error.strerror}") from None
        finally:
            lock.close()
        try:
            listens = await self._listens(process)
        except BaseException:
            await end_process(process, at_once=True)
            raise
        if not listens:
            await end_process(process, at_once=True)
            raise BusUnavailable(f"nats-server ({binary}) did not start: {last_trouble(log)} (see {log})")
        self._process, self._began = process, anyio.current_time()
        self.starts += 1

    async def _locked(self) -> StoreLock:
        """Return the lock on the store; the server of a hub that was killed needs a moment to end."""
        within_s = start_within_s(self.folder)
        with anyio.move_on_after(within_s):
            while True:
                try:
                    if lock := store_lock.acquire(self.folder):
                        return lock
                except OSError as error:
                    raise BadInput(f"the folder {self.folder} of a hub cannot be used: {error.strerror}") from None
                await anyio.sleep(0.05)
        raise BusUnavailable(f"a server has the store of {self.folder} for {within_s:.0f} s now: end it first")

    async def _listens(self, process: "subprocess.Popen[bytes]") -> bool:
        """Tell whether the new server listens; false if it ended or took too long."""
        ports = self.folder / f"nats-server_{process.pid}.ports"
        deadline = anyio.current_time() + start_within_s(self.folder)
        while process.poll() is None and anyio.current_time() < deadline:
            with suppress(OSError, ValueError, LookupError):
                return bool(json.loads(ports.read_text())["nats"])
            await anyio.sleep(0.02)
        return False

    async def watch(self) -> None:
        """Start the server again when it dies, until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await anyio.sleep(_WATCH_EVERY_S)
            if self.process.poll() is None:
                continue
            pause_s = _FIRST_PAUSE_S if anyio.current_time() - self._began > _LIVED_S else pause_s
            code = self.process.returncode
            sys.stderr.write(f"mesh: the server of {self.folder} ended with {code}: starting it again\n")
            await anyio.sleep(pause_s)
            pause_s = min(_MOST_PAUSE_S, pause_s * 2)
            try:
                await self.start()
            except (BusUnavailable, HostTrouble) as error:
                sys.stderr.write(f"mesh: {error}\n")

    async def stop(self) -> None:
        """End the server in good order."""
        if self._process is not None:
            await end_process(self._process)
            self._process = None
