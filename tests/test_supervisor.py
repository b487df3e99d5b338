"""No process is left behind, however a trial, its supervisor or a worker ends; and how a GPU is named."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import anyio
import msgspec
import pytest

from gpu_worker.cleanup import clear_leftovers
from gpu_worker.machine import short_name
from gpu_worker.sandbox.contain import Policy
from gpu_worker.supervisor.client import Supervisor, SupervisorDied, start_supervisor
from gpu_worker.supervisor.mark import kill_marked
from gpu_worker.supervisor.protocol import Ending, Kill, Launch, Limits, Request, encode, parse
from tests.support.daemons import ESCAPING, alive


def launch(supervisor: Supervisor, code: str, tag: str = "", **env: str) -> Launch:
    shown = {"PATH": os.environ["PATH"], "MESH_RUN_TOKEN": supervisor.token, **env}
    return Launch((sys.executable, "-I", "-S", "-c", code, tag), shown, "/")


async def end_of(code: str, *, deadline_s: float = 100, memory_mb: float = 1000, tag: str = "") -> Ending:
    tag = tag or uuid.uuid4().hex
    with anyio.fail_after(300):
        async with start_supervisor() as supervisor:
            ended = await supervisor.run(
                Request(launch(supervisor, code, tag), Limits(deadline_s, memory_mb=memory_mb))
            )
            assert alive(tag) == []
            return ended


def test_both_ends_read_what_the_other_writes() -> None:
    launch = Launch(("python", "x.py"), {"A": "ü"}, "/", Policy(uid=3, read=("/usr",), limits={"CORE": 0}), warm=True)
    for request in (
        Request(launch, Limits(1.5, memory_mb=2)),
        Request(launch, Limits(1), ("/f",), beside=launch),
        Kill(),
    ):
        assert msgspec.json.encode(parse(msgspec.json.encode(request))) == msgspec.json.encode(request)
    ending = Ending(None, "memory", 0.5, 0.25, 300.0, "out\n", "err", bounded=True)
    assert msgspec.json.decode(encode(ending), type=Ending) == ending


async def test_a_command_is_run_and_measured() -> None:
    code = (
        "import sys, time; b = bytearray(80_000_000); time.sleep(0.2); print('out'); print('err', file=sys.stderr);"
        "sum(range(3_000_000)); sys.exit(3)"
    )
    ended = await end_of(code)
    assert (ended.rc, ended.why, ended.out, ended.err) == (3, "", "out\n", "err\n")
    assert ended.seconds > 0.2
    assert 0.02 < ended.cpu_s < 5
    assert 70 < ended.peak_memory_mb < 200


SHARING = """
import os, time
kept = bytearray(b"x") * 100_000_000
children = []
for _ in range(5):
    if (pid := os.fork()) == 0:
        DEED
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
"""


async def test_what_forks_share_with_their_parent_counts_once() -> None:
    ended = await end_of(SHARING.replace("DEED", "time.sleep(1.5)"), memory_mb=400)
    assert (ended.rc, ended.why) == (0, "")
    assert 100 < ended.peak_memory_mb < 400


async def test_what_forks_write_is_their_own_and_counts() -> None:
    deed = "kept[::4096] = bytes(len(kept[::4096])); time.sleep(60)"
    ended = await end_of(SHARING.replace("DEED", deed), memory_mb=400)
    assert (ended.rc, ended.why) == (None, "memory")


async def test_a_death_by_signal_is_a_negative_code() -> None:
    ended = await end_of("import os; os.kill(os.getpid(), 11)")
    assert (ended.rc, ended.why) == (-11, "")


async def test_a_command_that_does_not_exist_cannot_be_started() -> None:
    async with start_supervisor() as supervisor:
        ended = await supervisor.run(Request(Launch(("/nonexistent",), {}, "/"), Limits(1, memory_mb=100)))
        assert ended.why == "start"
        assert "No such file" in ended.err
        again = await supervisor.run(Request(Launch(("true",), dict(os.environ), "/"), Limits(100, memory_mb=100)))
        assert again.rc == 0


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import time; time.sleep(60)", "deadline"),
        ("import time; b = bytearray(400_000_000); time.sleep(60)", "memory"),
        ("while True: print('x' * 100_000)", "output"),
    ],
)
async def test_a_command_that_exceeds_a_limit_is_killed(code: str, why: str) -> None:
    ended = await end_of(code, deadline_s=45 if why != "deadline" else 0.5, memory_mb=200)
    assert (ended.rc, ended.why) == (None, why)
    assert len(ended.out) < 70_000


async def test_a_tree_that_escapes_and_respawns_is_gone_when_the_answer_comes() -> None:
    tag = uuid.uuid4().hex
    for _ in range(3):
        ended = await end_of(ESCAPING, tag=tag)
        assert ended.rc == 0
    await anyio.sleep(0.1)
    assert alive(tag) == []


async def test_a_running_command_is_killed_on_request_and_an_early_or_late_request_harms_nobody() -> None:
    tag = uuid.uuid4().hex
    with anyio.fail_after(300):
        async with start_supervisor() as supervisor, anyio.create_task_group() as tasks:
            await supervisor.kill()

            async def kill_soon() -> None:
                while not alive(tag):
                    await anyio.sleep(0.05)
                await supervisor.kill()
                await supervisor.kill()

            tasks.start_soon(kill_soon)
            ended = await supervisor.run(
                Request(launch(supervisor, "import time; time.sleep(300)", tag), Limits(200, memory_mb=500))
            )
            assert (ended.rc, ended.why) == (None, "killed")
            again = await supervisor.run(Request(launch(supervisor, "print(1)"), Limits(100, memory_mb=500)))
            assert (again.rc, again.out) == (0, "1\n")


async def test_when_the_worker_is_gone_so_is_everything(tmp_path: Path) -> None:
    tag = uuid.uuid4().hex
    worker = (
        "import subprocess, sys, time\n"
        "supervisor = subprocess.Popen([sys.executable, '-m', 'gpu_worker.supervisor'], stdin=subprocess.PIPE)\n"
        "supervisor.stdin.write(sys.argv[1].encode() + b'\\n'); supervisor.stdin.flush(); time.sleep(300)\n"
    )
    command = [sys.executable, "-I", "-S", "-c", ESCAPING + "time.sleep(300)", tag]
    request = msgspec.json.encode(Request(Launch(command, {}, "/"), Limits(300, memory_mb=1000))).decode()
    process = await anyio.open_process([sys.executable, "-c", worker, request], stdout=subprocess.DEVNULL)
    async with process:
        with anyio.fail_after(200):
            while len(alive(tag)) < 5:
                await anyio.sleep(0.05)
            process.send_signal(signal.SIGKILL)
            await process.wait()
            while alive(tag):
                await anyio.sleep(0.05)


async def test_a_supervisor_that_dies_is_noticed_and_its_trial_does_not_outlive_the_block() -> None:
    tag = uuid.uuid4().hex
    with anyio.fail_after(200):
        async with start_supervisor() as supervisor, anyio.create_task_group() as tasks:

            async def murder() -> None:
                while len(alive(tag)) < 5:
                    await anyio.sleep(0.05)
                supervisor.process.kill()

            tasks.start_soon(murder)
            with pytest.raises(SupervisorDied):
                await supervisor.run(
                    Request(launch(supervisor, ESCAPING + "time.sleep(300)", tag), Limits(300, memory_mb=1000))
                )
        assert alive(tag) == []
        assert kill_marked(supervisor.token) == 0


def test_processes_and_folders_of_a_dead_worker_are_removed(tmp_path: Path) -> None:
    token = uuid.uuid4().hex
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"], env={"MESH_RUN_TOKEN": token})
    try:
        for name, owner in (("dead", [left.pid, 1.0]), ("alive", None)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "owner").write_text(msgspec.json.encode(owner).decode() if owner else "")
        (tmp_path / "dead" / f"{token}.token").touch()
        clear_leftovers(tmp_path)
        assert left.wait(100) == -9
    finally:
        left.kill()
    assert [p.name for p in tmp_path.iterdir()] == ["alive"]


@pytest.mark.parametrize(
    ("name", "short"),
    [("NVIDIA H100 80GB HBM3", "h100"), ("NVIDIA GeForce RTX 4090", "rtx4090"), ("Tesla T4", "t4"), ("", "gpu")],
)
def test_a_gpu_has_a_short_name(name: str, short: str) -> None:
    assert short_name(name) == short
