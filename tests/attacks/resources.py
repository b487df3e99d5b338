"""Attacks that take more than a trial may have: its trial succeeds if it had the thing for a second."""

from textwrap import dedent

from tests.attacks.plans import Plan, PlanFamily

FAMILY = PlanFamily("Resources", "AC")

_BEGIN = """
import mmap, resource, subprocess, threading
MB = 1 << 20
block = b'x' * (8 * MB)
def hold(seconds=3):
    time.sleep(seconds)
    win(1)
"""


def _takes(name: str, train: str, *, deadline_s: float = 6, open_in: str = "", why: str = "") -> None:
    """Add an attack; memory is limited to 128 MB here, and disk to 50 MB."""
    FAMILY.plan(name, Plan(_BEGIN + dedent(train), "any", deadline_s=deadline_s), open_in=open_in, why=why)


_takes("use more memory than it may", "kept = [bytearray(block) for _ in range(25)]\nhold()")
_takes("use more memory in shared pages", "m = mmap.mmap(-1, 200 * MB)\nfor _ in range(25): m.write(block)\nhold()")
_takes("stay without an end", "time.sleep(60)", deadline_s=0.5)
_takes("print without an end", "for _ in range(20): os.write(1, block)\nhold()")
_takes("print errors without an end", "for _ in range(20): os.write(2, block)\nhold()")
_takes(
    "write more to disk than it may",
    "f = open(out / 'big', 'wb')\nfor _ in range(16): f.write(block)\nf.flush()\nhold()",
)
_takes(
    "reserve disk without writing", "f = open(out / 'big', 'wb')\nos.posix_fallocate(f.fileno(), 0, 512 * MB)\nhold()"
)
_takes(
    "write many middling files",
    "for n in range(30):\n    with open(out / str(n), 'wb') as f: f.write(block[:4 * MB])\nhold()",
)
_takes("fill the folder of temporary files", "f = open('/tmp/big', 'wb')\nfor _ in range(200): f.write(block)\nhold()")
_takes(
    "fill the folder of kept temporary files",
    "f = open('/var/tmp/big', 'wb')\nfor _ in range(16): f.write(block)\nhold()",
)
_takes("have more open files than it may", "kept = [os.dup(0) for _ in range(20000)]\nhold()")
_takes("lock memory", "m = mmap.mmap(-1, 100 * MB)\nif ctypes.CDLL(None).mlockall(3): sys.exit(1)\nhold(0)")
_takes("grow its own code", "for n in range(16):\n    with open(f'code{n}', 'wb') as f: f.write(block)\nhold()")
_takes(
    "grow its report",
    "f = open(os.environ['MESH_REPORT'], 'ab')\nfor _ in range(16): f.write(block)\nf.flush()\nhold()",
)
_takes(
    "use more memory in many small processes",
    """
    for _ in range(12):
        if os.fork() == 0:
            kept = bytearray(block) + bytearray(block)
            time.sleep(5)
            os._exit(0)
    hold()
    """,
)
_takes(
    "use more memory in files without a name",
    """
    kept = []
    for _ in range(25):
        kept.append(os.memfd_create('x'))
        os.write(kept[-1], block)
    hold()
    """,
)
_takes(
    "use more memory in /dev/shm",
    """
    kept = []
    for _ in range(25):
        kept.append(open('/dev/shm/mesh-attack', 'wb'))
        os.unlink('/dev/shm/mesh-attack')
        kept[-1].write(block)
        kept[-1].flush()
    hold()
    """,
)
_takes(
    "use more memory in System V segments",
    """
    c = ctypes.CDLL(None, use_errno=True)
    c.shmat.restype = ctypes.c_void_p
    for _ in range(25):
        s = c.shmget(0, 8 * MB, 0o1600)
        at = c.shmat(s, None, 0)
        if s < 0 or at in (None, 2**64 - 1):
            sys.exit(1)
        ctypes.memmove(at, block, 8 * MB)
        c.shmctl(s, 0, None)
    hold()
    """,
)
_takes(
    "use more memory while its first thread is gone",
    """
    def stay():
        time.sleep(0.05)
        kept = [bytearray(block) for _ in range(25)]
        hold()
        os._exit(0)
    threading.Thread(target=stay).start()
    ctypes.CDLL(None).syscall(ctypes.c_long(60 if os.uname().machine == 'x86_64' else 93), ctypes.c_long(0))
    """,
)
_takes(
    "use more memory in buffers of sockets",
    """
    kept, sent = [], 0
    for _ in range(1500):
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for one in pair:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * MB)
            one.setblocking(False)
            sent += one.send(block[:MB])
        kept.append(pair)
        if sent > 220 * MB:
            break
    if sent > 200 * MB:
        hold()
    """,
    open_in="aCDE",
    why="buffers of sockets are the kernel's memory, which only a control group counts",
)
_takes(
    "use more memory in buffers of pipes",
    """
    import fcntl
    kept, sent = [], 0
    for _ in range(1500):
        pair = os.pipe()
        try:
            fcntl.fcntl(pair[1], 1031, MB)
        except OSError:
            pass
        os.set_blocking(pair[1], False)
        sent += os.write(pair[1], block[:MB])
        kept.append(pair)
    if sent > 200 * MB:
        hold()
    """,
)
_takes(
    "keep files on disk that have no name",
    """
    kept = []
    for n in range(16):
        f = open(out / 'gone', 'wb')
        os.unlink(out / 'gone')
        f.write(block)
        f.flush()
        kept.append(f)
    hold()
    """,
)
_takes(
    "have thousands of threads",
    """
    threading.stack_size(32768)
    for _ in range(2500):
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    hold()
    """,
)
_takes(
    "have more processes than it may",
    """
    for _ in range(560):
        if os.fork() == 0:
            signal.pause()
    hold()
    """,
)
_takes(
    "double without an end",
    """
    end, first = time.time() + 3, os.getpid()
    for _ in range(10):
        try:
            os.fork()
        except OSError:
            os._exit(1)
    time.sleep(max(0, end - time.time()))
    if os.getpid() == first:
        win(1)
    """,
)
_takes(
    "fill the table of processes with dead ones",
    """
    for _ in range(600):
        if os.fork() == 0:
            os._exit(0)
    hold()
    """,
)
_takes(
    "use the processor longer than its budget in children",
    """
    for _ in range(2):
        if os.fork() == 0:
            end = time.time() + 5
            while time.time() < end: pass
            os._exit(0)
    os.wait(); os.wait()
    win(1)
    """,
    deadline_s=1,
)
