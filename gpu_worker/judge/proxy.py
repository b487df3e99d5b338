"""Serves the judge's proxy in threads of the worker: on the machine's loopback, and at the doors of runs.

A door is a socket that listens on the loopback of a score program's own network. The score program makes it before its
program starts (`gpu_worker.sandbox.door`) and sends it here. So nothing of the proxy is in the sandbox, and no process
outside of that network can reach it. In sandbox tiers without networks of their own, the proxy listens on the
machine's loopback, where a run is known by its token.
"""

import contextlib
import os
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from gpu_worker.judge.answer_cache import AnswerCache
from gpu_worker.judge.handler import JudgeConnection
from gpu_worker.judge.ledger import Ledger
from gpu_worker.judge.session import Session
from gpu_worker.judge.upstream import Upstream
from mesh.errors import BadInput, HostTrouble
from mesh.spec import JudgeSpec

MAX_UNKNOWN = 256
"""Connections at a time to the port on the machine's loopback."""
_TOKEN_BYTES = 200
_HANDOVER_S = 5.0


def open_judge(spec: JudgeSpec, folder: Path) -> "JudgeProxy | None":
    """Open the proxy of an arena, with the key out of this process's environment; None where it names no models.

    Args:
        spec: the arena's `[judge]`.
        folder: where its ledger and its answers lie.

    Raises:
        BadInput: the key is not set here.
        HostTrouble: the proxy cannot be opened.
    """
    if not spec.models:
        return None
    key = os.environ.get(spec.key, "").strip() if spec.key else ""
    if spec.key and not key:
        raise BadInput(f"judge.key: {spec.key} is not set where this worker was started: set it there")
    return JudgeProxy(spec, key, folder)


class JudgeProxy:
    """The proxy of an arena on this machine, for all slots of a worker.

    Args:
        spec: the arena's `[judge]`.
        key: the value of the key; "" where the server needs none.
        folder: where the ledger and the answers of this arena lie.

    Raises:
        HostTrouble: the ledger or the sockets cannot be opened.
    """

    def __init__(self, spec: JudgeSpec, key: str, folder: Path) -> None:
        self._spec, self._upstream = spec, Upstream(spec.upstream, key, spec.key)
        self._ledger = Ledger(folder / "ledger.sqlite")
        self._cache = AnswerCache(folder / "answers", spec.cache_mb)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self._asking: dict[str, tuple[threading.Lock, int]] = {}
        self._unknown = threading.BoundedSemaphore(MAX_UNKNOWN)
        self._folder = tempfile.mkdtemp(prefix="mesh-judge-")  # only its user may enter it
        self.door = os.path.join(self._folder, "door")
        try:
            self._doors = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._doors.bind(self.door)
            self._doors.listen(64)
            self._port = socket.create_server(("127.0.0.1", 0), backlog=128)
        except OSError as error:
            raise HostTrouble(f"the judge's proxy cannot listen on this machine: {error.strerror}") from None
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        for each in (self._doors, self._port, self._wake_read):
            each.setblocking(False)
            self._selector.register(each, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="judge", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; calls that are under way are still written down."""
        self._closing = True
        self._wake_write.send(b"x")
        self._thread.join()
        for session in list(self._sessions.values()):
            session.close()
        for each in (self._doors, self._port, self._wake_read, self._wake_write):
            each.close()
        self._selector.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextlib.contextmanager
    def session(self, run: str, *, has_own_network: bool) -> Iterator[Session]:
        """Let a run ask while the block runs.

        Args:
            run: its name.
            has_own_network: whether its score program makes a door on a loopback of its own.
        """
        port = 0 if has_own_network else self._port.getsockname()[1]
        session = Session(run, self._spec, self._upstream, self._ledger, self._cache, door=self.door, port=port)
        with self._lock:
            self._sessions[session.token] = session
        try:
            yield session
        finally:
            with self._lock:
                del self._sessions[session.token]
            session.is_closed = True
            self._wake_write.send(b"x")  # the thread that serves closes the door

    def of(self, token: str) -> Session | None:
        """Return the session with this token, None if there is none."""
        with self._lock:
            return self._sessions.get(token)

    @contextlib.contextmanager
    def alone(self, digest: str) -> Iterator[None]:
        """Wait until nobody else asks the same question, and then be the only one."""
        with self._lock:
            lock, users = self._asking.get(digest, (threading.Lock(), 0))
            self._asking[digest] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                users = self._asking[digest][1] - 1
                if users:
                    self._asking[digest] = lock, users
                else:
                    del self._asking[digest]

    def _serve(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake_read:
                    with contextlib.suppress(OSError):
                        self._wake_read.recv(4096)
                    self._close_doors()
                elif key.fileobj is self._doors:
                    self._open_door()
                else:
                    self._accept(key.fileobj, key.data)  # type: ignore[arg-type]

    def _close_doors(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Session) and key.data.is_closed:
                self._selector.unregister(key.fileobj)
                key.data.close()

    def _open_door(self) -> None:
        """Take a listening socket from a score program that is about to start."""
        with contextlib.suppress(OSError):
            channel, _ = self._doors.accept()
            with channel:
                channel.settimeout(_HANDOVER_S)
                token, descriptors, _, _ = socket.recv_fds(channel, _TOKEN_BYTES, 1)
                listeners = [socket.socket(fileno=each) for each in descriptors]
                session = self.of(token.decode(errors="replace"))
                if session is None or session.is_closed or len(listeners) != 1:
                    for each in listeners:
                        each.close()
                    return
                if session.listener:  # of an earlier stage of the run
                    self._selector.unregister(session.listener)
                    session.listener.close()
                session.listener = listeners[0]
                session.listener.setblocking(False)
                self._selector.register(session.listener, selectors.EVENT_READ, session)
                channel.send(b"open")

    def _accept(self, listener: socket.socket, session: Session | None) -> None:
        try:
            opened, _ = listener.accept()
        except OSError:
            return
        room = session.connections if session else self._unknown
        if not room.acquire(blocking=False):
            opened.close()
            return
        thread = threading.Thread(target=self._talk, args=(opened, session, room), name="judge-call", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be started
            room.release()
            opened.close()

    def _talk(self, opened: socket.socket, session: Session | None, room: threading.BoundedSemaphore) -> None:
        try:
            with opened, contextlib.suppress(OSError, ValueError):
                opened.setblocking(True)
                JudgeConnection(opened, self, session)
        finally:
            room.release()
