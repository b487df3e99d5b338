"""Attacks on devices."""

import errno
import glob
import os
import re
import stat

from tests.attacks.corpus import Family, NotApplicable, Targets, must_exist, opens

FAMILY = Family("Devices")
attack = FAMILY.attack

_TABLE = {
    "read physical memory": ("/dev/mem", os.O_RDONLY),
    "reach the ports as a file": ("/dev/port", os.O_RDWR),
    "write the kernel's log": ("/dev/kmsg", os.O_WRONLY),
    "use virtual machines": ("/dev/kvm", os.O_RDWR),
    "mount by user space as a device": ("/dev/fuse", os.O_RDWR),
    "handle page faults by a device": ("/dev/userfaultfd", os.O_RDWR),
    "talk to the hypervisor by a device": ("/dev/vsock", os.O_RDWR),
    "make a disk of a file": ("/dev/loop-control", os.O_RDWR),
    "write the console": ("/dev/console", os.O_WRONLY),
    "write a virtual terminal": ("/dev/tty0", os.O_WRONLY),
    "read what a terminal shows": ("/dev/vcs", os.O_RDONLY),
    "write a serial line": ("/dev/ttyS0", os.O_WRONLY),
    "drive the hardware's random numbers": ("/dev/hwrng", os.O_RDONLY),
    "keep the processor awake": ("/dev/cpu_dma_latency", os.O_WRONLY),
    "type as a keyboard": ("/dev/uinput", os.O_WRONLY),
    "set the hardware's clock": ("/dev/rtc0", os.O_WRONLY),
    "stop the watchdog": ("/dev/watchdog", os.O_WRONLY),
    "control disks of btrfs": ("/dev/btrfs-control", os.O_RDWR),
    "command the graphics arbiter": ("/dev/vga_arbiter", os.O_RDWR),
    "compress memory to a disk": ("/dev/zram0", os.O_RDWR),
    "read the processor's registers": ("/dev/cpu/0/msr", os.O_RDONLY),
    "use the software's bus of network devices": ("/dev/net/tun", os.O_RDWR),
    "use the hypervisor's network": ("/dev/vhost-net", os.O_RDWR),
    "draw on the screen": ("/dev/fb0", os.O_RDWR),
    "use the machine's first graphics device": ("/dev/dri/card0", os.O_RDWR),
    "set the automatic mounts": ("/dev/autofs", os.O_RDWR),
}
for _name, (_path, _flags) in _TABLE.items():
    FAMILY.add(_name, lambda t, p=_path, f=_flags: opens(must_exist(p), f))  # type: ignore[misc]

FAMILY.add("read the kernel's log as a file", lambda t: _log(must_exist("/dev/kmsg")), open_in="DE")
FAMILY.add("open a terminal of its own", lambda t: opens(must_exist("/dev/ptmx"), os.O_RDWR), open_in="DE")
FAMILY.add("use a GPU that is not its slot's", lambda t: _gpu())


@attack("read the disk that the root folder is on")
def _(t: Targets) -> None:
    number = os.stat(t.evaluator).st_dev
    for path in glob.glob("/dev/*"):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISBLK(found.st_mode) and found.st_rdev == number:
            opens(path, os.O_RDONLY)
            return
    raise NotApplicable("its disk has no device here")


@attack("make a device of the disk")
def _(t: Targets) -> None:
    os.mknod(f"{t.work}/disk", 0o600 | stat.S_IFBLK, os.stat(t.evaluator).st_dev)


@attack("make a device of physical memory")
def _(t: Targets) -> None:
    os.mknod(f"{t.work}/memory", 0o600 | stat.S_IFCHR, os.makedev(1, 1))


@attack("make a device that discards", open_in="DE")
def _(t: Targets) -> None:
    """What overlay file systems use to hide files."""
    os.mknod(f"{t.work}/whiteout", 0o600 | stat.S_IFCHR, 0)


def _log(path: str) -> None:
    try:
        opens(path, os.O_RDONLY)
    except PermissionError as error:
        if error.errno == errno.EPERM:
            raise NotApplicable("the machine shows it to root alone") from None
        raise


def _gpu() -> None:
    """A trial without a GPU: any device is another's."""
    paths = [path for path in glob.glob("/dev/nvidia*") if re.search(r"\d$|ctl$|uvm$", path)]
    if not paths:
        raise NotApplicable("there is no GPU")
    opens(paths[0], os.O_RDWR)
