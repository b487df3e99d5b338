"""Attacks over the network and over sockets of the machine."""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.attacks.corpus import Family, NotApplicable, Targets, must_exist, opens, read

FAMILY = Family("Network and sockets")
attack = FAMILY.attack

SOCKETS = "who may write to a socket in the file system may connect to it; Landlock does not stop this"
AGENTS = "sockets of the worker's user are open to a trial of that user: run workers of tier C as a user of their own"
SEEN = "/proc/net lists sockets, and no contents"


def _socket(family: int, kind: int, protocol: int = 0) -> Callable[[Targets], object]:
    """Return an attack that opens a socket; a kernel without the protocol is not applicable."""

    def make(_: Targets) -> None:
        try:
            socket.socket(family, kind, protocol).close()
        except OSError as error:
            if error.errno in (97, 93, 94, 22):  # no such family, protocol or type here
                raise NotApplicable(str(error)) from None
            raise

    return make


def _connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(address)


_RAW, _DATAGRAM, _STREAM = socket.SOCK_RAW, socket.SOCK_DGRAM, socket.SOCK_STREAM
FAMILY.add("connect to the server by TCP", lambda t: _connect(2, _STREAM, ("127.0.0.1", t.tcp)), open_in="E")
FAMILY.add("connect by TCP over IPv6", lambda t: _connect(10, _STREAM, ("::ffff:127.0.0.1", t.tcp)), open_in="E")
FAMILY.add(
    "send a datagram by UDP", lambda t: socket.socket(2, _DATAGRAM).sendto(b"x", ("127.0.0.1", t.tcp)), open_in="E"
)
FAMILY.add(
    "send a datagram over IPv6", lambda t: socket.socket(10, _DATAGRAM).sendto(b"x", ("::1", t.tcp)), open_in="E"
)
FAMILY.add(
    "connect while sending",
    lambda t: socket.socket(2, _STREAM).sendto(b"x", 0x20000000, ("127.0.0.1", t.tcp)),
    open_in="E",
)
FAMILY.add("listen on TCP", lambda t: socket.create_server(("0.0.0.0", 0)).close(), open_in="E")
FAMILY.add("listen on TCP without a port of its own", lambda t: socket.socket(2, _STREAM).listen(), open_in="E")
FAMILY.add("receive by UDP", lambda t: socket.socket(2, _DATAGRAM).bind(("0.0.0.0", 0)), open_in="E")
FAMILY.add("open an IPv6 socket", _socket(10, _STREAM), open_in="E")
FAMILY.add("open a raw IP socket", _socket(2, _RAW, 1))
FAMILY.add("open a raw IPv6 socket", _socket(10, _RAW, 58))
FAMILY.add("open a socket for pings", _socket(2, _DATAGRAM, 1))
FAMILY.add("see every packet", _socket(17, _RAW, 0x0300))
FAMILY.add("see every packet without its head", _socket(17, _DATAGRAM, 0x0300))
FAMILY.add("open a netlink socket to the routes", _socket(16, _RAW, 0), open_in="E")
FAMILY.add("open a netlink socket to the firewall", _socket(16, _RAW, 12), open_in="E")
FAMILY.add("open a netlink socket to devices' events", _socket(16, _RAW, 15), open_in="E")
FAMILY.add("open a netlink socket to the audit log", _socket(16, _RAW, 9), open_in="E")
FAMILY.add("open a netlink socket to process events", _socket(16, _DATAGRAM, 11), open_in="E")
FAMILY.add("list all sockets by netlink", _socket(16, _DATAGRAM, 4), open_in="E")
FAMILY.add("open a socket to the hypervisor", _socket(40, _STREAM), open_in="E")
FAMILY.add("open a bluetooth socket", _socket(31, _RAW, 1))
FAMILY.add("open a socket to the kernel's ciphers", _socket(38, 5), open_in="E")
FAMILY.add("open a CAN socket", _socket(29, _RAW, 1), open_in="E")
FAMILY.add("open a TIPC socket", _socket(30, _RAW), open_in="E")
FAMILY.add("open an RDS socket", _socket(21, 5), open_in="E")
FAMILY.add("open a key-management socket", _socket(15, _RAW, 2))
FAMILY.add("open an XDP socket", _socket(44, _RAW))
FAMILY.add("open a PPP socket", _socket(24, _STREAM), open_in="E")
FAMILY.add("open a near-field socket", _socket(39, _RAW), open_in="E")
FAMILY.add("open a modem socket", _socket(42, _DATAGRAM), open_in="E")
FAMILY.add("open an SMC socket", _socket(43, _STREAM), open_in="E")
FAMILY.add("open an SCTP socket", _socket(2, _STREAM, 132), open_in="E")
FAMILY.add("open a DCCP socket", _socket(2, 6, 33), open_in="E")
FAMILY.add("open a multipath TCP socket", _socket(2, _STREAM, 262), open_in="E")
FAMILY.add("open a UDP-Lite socket", _socket(2, _DATAGRAM, 136), open_in="E")
FAMILY.add("open a tunnel", lambda t: opens(must_exist("/dev/net/tun"), os.O_RDWR))
FAMILY.add("list the sockets of this machine", lambda t: _others_port(t), open_in="BCDE", why=SEEN)
FAMILY.add("list the unix sockets of this machine", lambda t: _names_of_sockets(t), open_in="BCDE", why=SEEN)


@attack("ask a name server", open_in="E")
def _(t: Targets) -> None:
    query = struct.pack(">HHHHHH", 1, 0x100, 1, 0, 0, 0) + b"\x04mesh\x04test\x00\x00\x01\x00\x01"
    with socket.socket(2, _DATAGRAM) as made:
        made.sendto(query, ("127.0.0.53", 53))


@attack("join a multicast group", open_in="E")
def _(t: Targets) -> None:
    with socket.socket(2, _DATAGRAM) as made:
        made.bind(("", 0))
        made.setsockopt(0, 32, struct.pack("4s4s", socket.inet_aton("127.0.0.1"), bytes(4)))


@attack("send to everybody on the network", open_in="E")
def _(t: Targets) -> None:
    with socket.socket(2, _DATAGRAM) as made:
        made.setsockopt(1, 6, 1)
        made.connect(("127.255.255.255", t.tcp))


@attack("connect to a socket in the file system", open_in="BCDE", why=SOCKETS)
def _(t: Targets) -> None:
    _connect(1, _STREAM, t.unix)


@attack("command what its user alone may command, such as a session bus or an agent of keys", open_in="CDE", why=AGENTS)
def _(t: Targets) -> None:
    _connect(1, _STREAM, f"{t.unix}.private")


@attack("send a datagram to a socket in the file system", open_in="BCDE", why=SOCKETS)
def _(t: Targets) -> None:
    _connect(1, _DATAGRAM, f"{t.unix}.datagrams")


@attack("hand a descriptor to a process outside", open_in="BCDE", why=SOCKETS)
def _(t: Targets) -> None:
    with socket.socket(1, _STREAM) as made, open(f"{t.work}/handed", "w") as file:
        made.settimeout(2)
        made.connect(t.unix)
        socket.send_fds(made, [b"x"], [file.fileno()])


@attack("connect to an abstract socket", open_in="DE")
def _(t: Targets) -> None:
    _connect(1, _STREAM, f"\0{t.abstract}")


@attack("send a datagram to an abstract socket", open_in="DE")
def _(t: Targets) -> None:
    _connect(1, _DATAGRAM, f"\0{t.abstract}.datagrams")


@attack("talk to the system's bus")
def _(t: Targets) -> None:
    _connect(1, _STREAM, must_exist("/run/dbus/system_bus_socket"))


@attack("command the container engine")
def _(t: Targets) -> None:
    _connect(1, _STREAM, must_exist("/var/run/docker.sock"))


@attack("read the addresses of network devices", open_in="E")
def _(t: Targets) -> None:
    with socket.socket(2, _DATAGRAM) as made:
        fcntl.ioctl(made, 0x8912, struct.pack("@iP", 0, 0))


@attack("switch a network device")
def _(t: Targets) -> None:
    with socket.socket(2, _DATAGRAM) as made:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(made, 0x8913, request))[1]
        fcntl.ioctl(made, 0x8914, struct.pack("16sH14x", b"lo", flags))


@attack("make the socket pair of another family", open_in="E")
def _(t: Targets) -> None:
    pair = (ctypes.c_int * 2)()
    if ctypes.CDLL(None, use_errno=True).socketpair(30, 5, 0, pair) < 0 and ctypes.get_errno() in (1, 13):
        raise PermissionError("refused")
    raise NotApplicable("this kernel has no such family")


def _others_port(t: Targets) -> None:
    if f":{t.tcp:04X} ".encode() not in _whole("/proc/net/tcp"):
        raise PermissionError("it is not seen")


def _names_of_sockets(t: Targets) -> None:
    if t.abstract.encode() not in _whole("/proc/net/unix"):
        raise PermissionError("it is not seen")


def _whole(path: str) -> bytes:
    read(path)
    with open(path, "rb") as file:
        return file.read()
