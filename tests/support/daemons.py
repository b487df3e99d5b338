"""Programs that leave the session of their parent, and who of them is alive."""

import textwrap

import psutil

ESCAPING = """
import os, signal, sys, time
END = time.time() + 300
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def daemon(depth):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            if depth:
                daemon(depth - 1)
            for fd in range(3):
                os.close(fd)
            while time.time() < END:
                time.sleep(1)
        os._exit(0)
    os.wait()

# three daemons, each of which leaves two more, then a process that changes its number all the time
for _ in range(3):
    daemon(2)
if os.fork() == 0:
    os.setsid()
    while time.time() < END:
        if os.fork():
            os._exit(0)
        time.sleep(0.005)
    os._exit(0)
time.sleep(0.3)
"""


def detached(body: str) -> str:
    """Return code that runs `body` in a child with a session of its own; the parent goes on behind it."""
    return "import os\nif os.fork() == 0:\n    os.setsid()\n" + textwrap.indent(
        body.strip() + "\nos._exit(0)\n", "    "
    )


def alive(tag: str) -> list[int]:
    """Return the processes that have `tag` among their arguments."""
    everyone = [p.info for p in psutil.process_iter(["pid", "cmdline", "status"])]
    return [p["pid"] for p in everyone if tag in (p["cmdline"] or ()) and p["status"] != psutil.STATUS_ZOMBIE]
