"""The self-test of a sandbox, run as a trial: tries the attacks that must fail, and the deeds that must work.

Its argument is a JSON object of targets. It prints a JSON object: `blocked` or `open` for every attack, `works` or an
error for every deed. An attack that succeeds does no harm: it only looks, or undoes what it did. The standard library
alone.
"""

import ctypes
import fcntl
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

START_CUDA = "import ctypes, sys; error = ctypes.CDLL('libcuda.so.1').cuInit(0); sys.exit(error and f'error {error}')"
"""A program of Python that fails where CUDA does not start; its last line says why."""
IS_ARM = os.uname().machine == "aarch64"
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Try everything and print the results."""
    target: dict[str, Any] = json.loads(sys.argv[1])
    results: dict[str, str] = {}
    for name, attack in attacks(target).items():
        try:
            attack()
            results[name] = "open"
        except Exception:
            results[name] = "blocked"
    for name, deed in deeds(target["work"], cuda=target["cuda"]).items():
        try:
            deed()
            results[name] = "works"
        except Exception as error:
            results[name] = f"{type(error).__name__}: {error}"
    sys.stdout.write(json.dumps(results) + "\n")


def attacks(target: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Return the attacks by name; each raises where it is blocked."""
    worker, secret, evaluator = int(target["pid"]), str(target["secret"]), str(target["evaluator"])

    def connect(kind: int, address: Any) -> None:
        with socket.socket(kind) as made:
            made.settimeout(2)
            made.connect(address)

    def send_datagram() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.sendto(b"x", ("127.0.0.1", target["tcp"]))

    def listen() -> None:
        with socket.socket() as made:
            made.bind(("0.0.0.0", 0))
            made.listen()

    def rename() -> None:
        os.rename(evaluator, evaluator + ".away")
        os.rename(evaluator + ".away", evaluator)

    def write_elsewhere() -> None:
        path = f"/var/tmp/mesh-{os.getpid()}"
        with open(path, "w"):
            pass
        os.unlink(path)

    def link() -> None:
        os.link(evaluator, f"{target['work']}/twin")
        os.unlink(f"{target['work']}/twin")

    def follow() -> None:
        path = f"{target['work']}/pointer"
        os.symlink(secret, path)
        try:
            _bytes(path)
        finally:
            os.unlink(path)

    def change_mode() -> None:
        mode = os.stat(evaluator).st_mode & 0o777
        os.chmod(evaluator, mode ^ 0o002)
        try:
            assert os.stat(evaluator).st_mode & 0o777 != mode
        finally:
            os.chmod(evaluator, mode)

    def lease() -> None:
        with open(evaluator) as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    def set_flags() -> None:
        flags = ctypes.c_long()
        with open(evaluator) as file:
            _check(_libc.ioctl(file.fileno(), ctypes.c_ulong(0x80086601), ctypes.byref(flags)))
            _check(_libc.ioctl(file.fileno(), ctypes.c_ulong(0x40086602), ctypes.byref(flags)))

    def signal_by_folder() -> None:
        folder = os.open(f"/proc/{worker}", os.O_RDONLY)
        try:
            _call(424, folder, 0, 0, 0)
        finally:
            os.close(folder)

    def signal_by_file() -> None:
        one, other = socket.socketpair()
        with one, other:
            fcntl.fcntl(one, fcntl.F_SETOWN, worker)

    def watch() -> None:
        watcher = _libc.inotify_init1(0)
        try:
            _check(_libc.inotify_add_watch(watcher, os.fsencode(os.path.dirname(evaluator)), 0x100))
        finally:
            os.close(watcher)

    def leave_group() -> None:
        with open("/proc/self/cgroup") as groups:
            paths = [line.rstrip("\n").split(":", 2)[1:] for line in groups]
        for names, path in paths:
            for folder in (f"/sys/fs/cgroup/{names}", "/sys/fs/cgroup"):
                try:
                    _join(f"{folder}{path}")
                    return
                except OSError:
                    continue
        raise OSError("no control group lets this process choose")

    def remount() -> None:
        _check(_libc.mount(b"none", b"/mnt", b"tmpfs", ctypes.c_ulong(0), None))
        _libc.umount2(b"/mnt", 2)

    return {
        "read a secret file": lambda: open(secret).read(),
        "read the worker's environment": lambda: _bytes(f"/proc/{worker}/environ"),
        "read the worker's memory": lambda: open(f"/proc/{worker}/mem", "rb").close(),
        "trace the worker": lambda: _call(117 if IS_ARM else 101, 0x4206, worker, 0, 0),
        "signal the worker": lambda: os.kill(worker, 0),
        "signal everybody": lambda: os.kill(-1, signal.SIGCONT),
        "signal a thread of the worker": lambda: _call(131 if IS_ARM else 234, worker, worker, 0),
        "signal the worker by its folder in /proc": signal_by_folder,
        "signal the worker by a file": signal_by_file,
        "renice the worker": lambda: os.setpriority(0, worker, os.getpriority(0, worker)),
        "pin the worker to a processor": lambda: os.sched_setaffinity(worker, os.sched_getaffinity(worker)),
        "limit the worker": lambda: resource.prlimit(worker, resource.RLIMIT_CORE, (0, 0)),
        "write the evaluator": lambda: open(evaluator, "a").close(),
        "truncate the evaluator": lambda: os.truncate(evaluator, 0),
        "rename the evaluator": rename,
        "change the mode of others' files": change_mode,
        "leave an attribute on others' files": lambda: os.setxattr(evaluator, "user.mesh", b"1"),
        "set inode flags of others' files": set_flags,
        "make others wait who open a file": lease,
        "watch others' folders": watch,
        "find System V memory of others": lambda: _check(_libc.shmget(target["segment"], 1, 0)),
        "hard-link the evaluator": link,
        "read a secret by a symbolic link": follow,
        "write outside its folders": write_elsewhere,
        "read the password file": lambda: open("/etc/shadow").read(),
        "list the home of root": lambda: os.scandir(target["home"]).__next__(),
        "connect by TCP": lambda: connect(socket.AF_INET, ("127.0.0.1", target["tcp"])),
        "send by UDP": send_datagram,
        "listen on TCP": listen,
        "open a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "open a raw IP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close(),
        "open an IPv6 socket": lambda: socket.socket(socket.AF_INET6).close(),
        "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + target["abstract"]),
        "connect to a socket by path": lambda: connect(socket.AF_UNIX, target["socket"]),
        "set up io_uring": lambda: _call(425, 4, ctypes.create_string_buffer(248)),
        "make a user namespace": lambda: _in_a_fork(lambda: _check(_libc.unshare(0x10000000))),
        "make a network namespace": lambda: _in_a_fork(lambda: _check(_libc.unshare(0x40000000))),
        "start a process in new namespaces": lambda: _clone(0x30000000),
        "mount": remount,
        "load a BPF program": lambda: _call(280 if IS_ARM else 321, 0, 0, 0),
        "gain privilege by a setuid program": lambda: _has("/proc/self/status", "NoNewPrivs:\t0"),
        "choose its control group": leave_group,
        "keep a capability": lambda: _not_has("/proc/self/status", "CapEff:\t0000000000000000"),
    }


def deeds(work: str, *, cuda: bool) -> dict[str, Callable[[], object]]:
    """Return the deeds that must work, by name."""

    def write(path: str) -> None:
        with open(path, "w") as file:
            file.write("x")
        os.unlink(path)

    def thread() -> None:
        made = threading.Thread(target=lambda: None)
        made.start()
        made.join()

    def pool() -> None:
        with multiprocessing.get_context("fork").Pool(2) as made:
            assert made.map(abs, [-1, -2]) == [1, 2]

    def start_cuda() -> None:
        done = subprocess.run([sys.executable, "-I", "-c", START_CUDA], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError((done.stderr.splitlines() or [""])[-1])

    return {
        "write its folder": lambda: write(f"{work}/probe"),
        "use shared memory": lambda: write(f"/dev/shm/mesh-{os.getpid()}"),
        "start a thread": thread,
        "start a program": lambda: subprocess.run([sys.executable, "-I", "-c", ""], check=True),
        "use a pool of processes": pool,
        **({"start CUDA": start_cuda} if cuda else {}),
    }


def _bytes(path: str) -> None:
    with open(path, "rb") as file:
        assert file.read()


def _has(path: str, text: str) -> None:
    with open(path) as file:
        assert text in file.read()


def _not_has(path: str, text: str) -> None:
    with open(path) as file:
        assert text not in file.read()


def _call(number: int, *arguments: Any) -> None:
    _check(_libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def _clone(flags: int) -> None:
    """Fork into new namespaces, which glibc does not offer."""
    zeros = [ctypes.c_long(0)] * 4
    pid = _libc.syscall(ctypes.c_long(220 if IS_ARM else 56), ctypes.c_ulong(flags | signal.SIGCHLD), *zeros)
    if pid == 0:
        os._exit(0)
    _check(pid)
    os.waitpid(pid, 0)


def _join(folder: str) -> None:
    """Try to write to a control group; this process stays in its own."""
    with open(f"{folder}/cgroup.procs", "w") as processes:
        processes.write(str(os.getpid()))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _in_a_fork(deed: Callable[[], object]) -> None:
    if (pid := os.fork()) == 0:
        try:
            deed()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    main()
