"""Attacks that leave a process behind. Each gives its processes a name by which the test finds them."""

from textwrap import dedent

from tests.attacks.plans import Plan, PlanFamily

FAMILY = PlanFamily("Living on", "AaBCE")

MARK = "mesh-lives-on"
_BEGIN = f"""
import subprocess
libc = ctypes.CDLL(None, use_errno=True)
def mark():
    libc.prctl(15, b{MARK!r}, 0, 0, 0)
def live():
    mark()
    end = time.time() + 30
    while time.time() < end:
        time.sleep(1)
    os._exit(0)
"""


def _lives(name: str, train: str, *, open_in: str = "") -> None:
    plan = Plan(_BEGIN + dedent(train) + "\nsys.exit(3)\n", "survive")
    FAMILY.plan(name, plan, open_in=open_in)


_lives("leave a child", "if os.fork() == 0: live()")
_lives("leave a child in a session of its own", "if os.fork() == 0: os.setsid(); live()")
_lives(
    "leave a grandchild without a parent",
    "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: live()\n    os._exit(0)",
)
_lives(
    "leave a process without an environment",
    """
    code = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'%s', 0, 0, 0); time.sleep(30)" % 'mesh-lives-on'
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execve(sys.executable, ['init', '-I', '-S', '-c', code], {})
        os._exit(0)
    time.sleep(0.2)
    """,
)
_lives(
    "leave a process that hears no signal",
    """
    if os.fork() == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        for number in range(1, 65):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        live()
    """,
)
_lives("leave a stopped process", "if os.fork() == 0:\n    os.setsid(); mark(); os.kill(os.getpid(), signal.SIGSTOP)")
_lives(
    "leave a process that changes its number all the time",
    """
    if os.fork() == 0:
        os.setsid()
        mark()
        end = time.time() + 30
        while time.time() < end:
            if os.fork():
                os._exit(0)
    """,
)
_lives(
    "leave a tree of processes that start each other again",
    """
    def watch(depth):
        mark()
        while True:
            if os.fork() == 0:
                os.setsid()
                if depth:
                    watch(depth - 1)
                live()
            os.wait()
    if os.fork() == 0:
        watch(2)
    time.sleep(0.1)
    """,
)
_lives(
    "collect its own orphans",
    """
    if os.fork() == 0:
        libc.prctl(36, 1, 0, 0, 0)
        os.setsid()
        for _ in range(3):
            if os.fork() == 0:
                if os.fork() == 0:
                    live()
                os._exit(0)
        live()
    time.sleep(0.05)
    """,
)
_lives(
    "leave a process whose first thread is gone",
    """
    import threading
    if os.fork() == 0:
        os.setsid()
        mark()
        threading.Thread(target=live).start()
        time.sleep(0.05)
        libc.syscall(ctypes.c_long(60 if os.uname().machine == 'x86_64' else 93), ctypes.c_long(0))
    time.sleep(0.15)
    """,
)
_lives(
    "leave a process that starts a program again and again",
    """
    code = "import os, sys, ctypes; ctypes.CDLL(None).prctl(15, b'mesh-lives-on', 0, 0, 0); " \\
           "os.execv(sys.executable, ['x', '-I', '-S', '-c', sys.orig_argv[-1]])"
    if os.fork() == 0:
        os.setsid()
        os.execv(sys.executable, ['x', '-I', '-S', '-c', code])
    time.sleep(0.1)
    """,
)
_lives(
    "leave hundreds of processes at its very end",
    """
    mark()
    win(1)
    for _ in range(8):
        if os.fork() == 0:
            os.setsid()
    """,
)
_lives(
    "leave a process that waits in the kernel",
    """
    if os.fork() == 0:
        os.setsid()
        mark()
        if libc.vfork() == 0:
            libc.sleep(30)
            libc._exit(0)
        os._exit(0)
    time.sleep(0.05)
    """,
)
_lives(
    "leave a process when it dies of its own signal",
    """
    if os.fork() == 0:
        os.setsid()
        live()
    os.kill(os.getpid(), 9)
    """,
)
_lives(
    "leave a process that holds its output open",
    """
    if os.fork() == 0:
        os.setsid()
        mark()
        f = open(out / 'held', 'w')
        while True:
            f.write('x'); f.flush(); time.sleep(0.01)
    """,
)
_lives(
    "end its supervisor and live on",
    """
    for pid in (os.getppid(), int(open(f'/proc/{os.getppid()}/stat').read().rpartition(')')[2].split()[1])):
        os.kill(pid, 9)
    live()
    """,
    open_in="E",
)
