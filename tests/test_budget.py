"""A command that uses more than its budget is ended, whatever it hides; an honest one is not, on a busy machine too."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from gpu_worker.supervisor.__main__ import WITHOUT_GROUPS
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Ending, Launch, Limits, Request

LIMIT_S = 0.6
BURN = """
import ctypes, hashlib, os, signal, sys, threading, time
def burn(seconds):
    began = time.process_time()
    while time.process_time() - began < seconds: pass
def child(seconds, then=lambda: None):
    pid = os.fork()
    if pid == 0:
        burn(seconds)
        then()
        os._exit(0)
    return pid
"""
CHEATS = {
    "burns": "burn(20)",
    "burns in a child that it does not wait for": "child(20); time.sleep(20)",
    "burns in an orphan of a session of its own": """
if os.fork() == 0:
    os.setsid()
    child(20)
    os._exit(0)
time.sleep(20)""",
    "burns in threads": """
def work():
    for _ in range(400): hashlib.sha256(bytes(8_000_000))
for _ in range(3): threading.Thread(target=work, daemon=True).start()
time.sleep(20)""",
    "burns in many short children": "for _ in range(300): os.waitpid(child(0.03), 0)",
    "burns in short orphans": """
for _ in range(300):
    if (middle := os.fork()) == 0:
        child(0.03)
        os._exit(0)
    os.waitpid(middle, 0)
    time.sleep(0.03)""",
    "ignores the deaths of its children": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(100):
    child(0.09)
    time.sleep(0.1)""",
    "ignores the deaths of very short children": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(900):
    child(0.008)
    time.sleep(0.01)""",
    "wants no child to be waited for, by a flag that nothing shows": """
class Action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ulong * 16), ("flags", ctypes.c_int)]
assert ctypes.CDLL(None).sigaction(17, ctypes.byref(Action(flags=2)), None) == 0
for _ in range(100):
    child(0.09)
    time.sleep(0.1)""",
    "inherits orphans and ignores their deaths": """
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(150):
    if os.fork() == 0:
        child(0.08)
        os._exit(0)
    time.sleep(0.1)""",
    "burns in bursts of children whose deaths it ignores": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    for _ in range(4): child(0.02)
    time.sleep(0.15)""",
    "hides behind a parent that ends as well": """
for _ in range(100):
    if (middle := os.fork()) == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        child(0.08)
        time.sleep(0.09)
        os._exit(0)
    os.waitpid(middle, 0)""",
    "kills its children before they end": """
while True:
    pid = child(20)
    time.sleep(0.08)
    os.kill(pid, 9)
    os.waitpid(pid, 0)""",
    "stops itself": """
if (awake := os.fork()) == 0:
    while True:
        time.sleep(0.02)
        os.kill(os.getppid(), signal.SIGCONT)
while True:
    burn(0.05)
    os.kill(os.getpid(), signal.SIGSTOP)""",
    "has burnt before anybody looks, and ends": "[child(0.35) for _ in range(4)]; [os.wait() for _ in range(4)]",
}


async def end_of(code: str, limits: Limits, *, groups: bool = True, beside: str = "") -> Ending:
    """Run a command under a supervisor with control groups, where this machine has them, or without them."""
    with anyio.fail_after(40):
        async with start_supervisor(options=() if groups else (WITHOUT_GROUPS,)) as supervisor:
            shown = {"PATH": os.environ["PATH"], "MESH_RUN_TOKEN": supervisor.token}
            launch, other = (
                Launch((sys.executable, "-I", "-S", "-c", BURN + text), shown, "/") for text in (code, beside)
            )
            return await supervisor.run(Request(launch, limits, beside=other if beside else None))


@pytest.mark.parametrize(
    ("cheat", "groups"),
    [*((cheat, False) for cheat in CHEATS), *((cheat, True) for cheat in CHEATS if "child" in cheat or "end" in cheat)],
)
async def test_a_command_that_uses_more_cpu_time_than_its_budget_is_ended(cheat: str, groups: bool) -> None:
    ended = await end_of(CHEATS[cheat], Limits(30, budget_s=LIMIT_S), groups=groups)
    assert (ended.why, ended.rc) == ("budget", None)
    assert ended.used_s > LIMIT_S
    assert ended.seconds < 15


HONEST = {
    "one process": "burn(0.6 - time.process_time())",
    "many short children": "for _ in range(20): os.waitpid(child(0.02), 0)",
    "children that it does not wait for": "[child(0.1) for _ in range(4)]; time.sleep(1)",
    "idle children whose deaths it ignores": """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(20):
    child(0.001)
    time.sleep(0.02)
burn(0.3)""",
}


@contextmanager
def busy_machine() -> Iterator[None]:
    """Two processes per core that compute."""
    code = "while True: pass"
    burners = [subprocess.Popen([sys.executable, "-I", "-S", "-c", code]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


@pytest.mark.parametrize(("name", "groups"), [*((name, False) for name in HONEST), ("one process", True)])
async def test_a_command_that_stays_within_its_budget_is_not_ended_on_a_busy_machine(name: str, groups: bool) -> None:
    with busy_machine():
        ended = await end_of(HONEST[name], Limits(30, budget_s=0.8), groups=groups)
    assert (ended.why, ended.rc) == ("", 0)
    assert 0.1 < ended.used_s <= 0.8


async def test_wall_time_counts_where_the_budget_says_so() -> None:
    for code in ("time.sleep(20)", "os.kill(os.getpid(), signal.SIGSTOP)"):
        ended = await end_of(code, Limits(30, budget_s=0.3, counts="wall"))
        assert ended.why == "budget"
        assert 0.3 < ended.used_s < 3
    ended = await end_of("time.sleep(0.2)", Limits(20, budget_s=10, counts="wall"))
    assert ended.why == ""
    assert 0.2 < ended.used_s < 10


@pytest.mark.parametrize("groups", [True, False], ids=["groups", "no groups"])
@pytest.mark.parametrize(
    ("command", "beside", "why"),
    [
        pytest.param("os.read(4, 1)", "burn(20)", "beside", id="burns"),
        pytest.param("os.read(4, 1)", CHEATS["burns in an orphan of a session of its own"], "beside", id="an orphan"),
        pytest.param("os.read(4, 1)", CHEATS["ignores the deaths of its children"], "beside", id="ignored children"),
        pytest.param("burn(20)", "os.read(0, 1)", "budget", id="the command burns"),
        pytest.param("burn(0.3)", "burn(0.3); os.read(0, 1)", "", id="both are honest"),
    ],
)
async def test_the_process_beside_has_a_budget_of_its_own(command: str, beside: str, why: str, groups: bool) -> None:
    limits = Limits(30, budget_s=LIMIT_S, beside_budget_s=LIMIT_S)
    ended = await end_of(command, limits, beside=beside, groups=groups)
    assert ended.why == why
    assert (ended.used_s > LIMIT_S, ended.beside_s > LIMIT_S) == (why == "budget", why == "beside")
    assert ended.used_s + ended.beside_s > 0.25


async def test_what_is_used_is_told_while_it_is_used() -> None:
    code = BURN + "burn(0.5); time.sleep(0.3)"
    seen = list[float]()
    with anyio.fail_after(60):
        async with start_supervisor() as supervisor, anyio.create_task_group() as tasks:

            async def look() -> None:
                while True:
                    seen.append(supervisor.used_s)
                    await anyio.sleep(0.02)

            tasks.start_soon(look)
            launch = Launch((sys.executable, "-I", "-S", "-c", code), {"MESH_RUN_TOKEN": supervisor.token}, "/")
            ended = await supervisor.run(Request(launch, Limits(20, budget_s=5)))
            tasks.cancel_scope.cancel()
            assert supervisor.used_s == ended.used_s
    assert seen == sorted(seen)
    assert len({used for used in seen if 0 < used < ended.used_s}) >= 2
