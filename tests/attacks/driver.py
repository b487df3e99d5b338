"""Attacks one tier on this machine: `python -m tests.attacks.driver CASE FOLDER` prints what every attack achieved."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import msgspec

from gpu_worker.environment import inherited
from gpu_worker.folders import lay_out_trial
from gpu_worker.sandbox import kernel
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from tests.attacks.corpus import Targets

HERE = Path(__file__).parent
VICTIM = """
import signal, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGURG])  # it stays pending, where all can see it
print(1, flush=True)
time.sleep(600)
"""
Results = dict[str, tuple[str, str]]


def sandbox_in(case: str) -> Sandbox:
    """Return the sandbox of a case for one slot."""
    tier: Tier = msgspec.convert(case.upper(), Tier)
    return sandbox_of(tier)


@contextmanager
def targets(folder: Path, case: str) -> Iterator[Targets]:
    """Put what attacks aim at into a folder, as a worker would."""
    folder.chmod(0o711)
    home, private, public, given, runs = (folder / name for name in ("home", "private", "public", "given", "runs"))
    for made in (home, private, public, given, runs, folder / "work"):
        made.mkdir()
    for path, mode in (
        (home / "secret", 0o600),
        (private / "answers", 0o644),
        (public / "x", 0o644),
        (given / "score.py", 0o444),
    ):
        path.write_text("print('a key')")
        path.chmod(mode)
    (home / "program").write_bytes(Path("/bin/true").read_bytes())
    (home / "program").chmod(0o711)
    (home / "link").symlink_to(home / "secret")
    other = runs / "other"
    lay_out_trial(other, {"train.py": b"x = 1\n"}, ("train.py",), sandbox_in(case))
    (other / "out" / "score.json").write_text("1")
    (other / "report.jsonl").write_text("{}\n")
    (runs / "own").mkdir()
    with ExitStack() as stack:
        abstract, port = f"mesh-{os.urandom(8).hex()}", stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for kind, end in ((socket.SOCK_STREAM, ""), (socket.SOCK_DGRAM, ".datagrams")):
            for address in (str(folder / f"socket{end}"), f"\0{abstract}{end}"):
                made_socket = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
                made_socket.bind(address)
                if not end:
                    made_socket.listen()
                if address[0] == "/":
                    os.chmod(address, 0o777)
        secret = stack.enter_context(open(home / "secret"))
        victim = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", VICTIM],
            stdout=subprocess.PIPE,
            env={"SECRET": "a key"},
            start_new_session=True,
        )
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        assert victim.stdout
        stack.enter_context(victim.stdout).readline()
        yield Targets(
            worker=os.getpid(),
            victim=victim.pid,
            home=str(home),
            secret=str(home / "secret"),
            private=str(private),
            public=str(public / "x"),
            evaluator=str(given / "score.py"),
            other_run=str(other),
            work=str(folder / "work"),
            tcp=port.getsockname()[1],
            unix=str(folder / "socket"),
            abstract=abstract,
            secret_fd=secret.fileno(),
        )


def pack(path: Path) -> None:
    """Write the probes as one file that Python runs."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__main__.py", "from tests.attacks.probes import main\nmain()\n")
        archive.writestr("tests/__init__.py", "")
        for module in HERE.glob("*.py"):
            archive.write(module, f"tests/attacks/{module.name}")
    path.chmod(0o444)


async def try_probes(folder: Path, case: str) -> Results:
    """Try all attacks of one step in one trial."""
    with targets(folder, case) as aim:
        sandbox, work = sandbox_in(case), Path(aim.work)
        pack(folder / "given" / "probes.zip")
        sandbox.give([work])
        policy = sandbox.policy([folder / "given", folder / "public"], [work], memory_mb=2000)
        async with start_supervisor() as supervisor:
            env = inherited() | {"MESH_RUN_TOKEN": supervisor.token, "TMPDIR": aim.work}
            aimed = dataclasses.replace(aim, supervisor=supervisor.process.pid)
            words = json.dumps(dataclasses.asdict(aimed)), f"{work}/results"
            launch = Launch((sys.executable, "-I", str(folder / "given" / "probes.zip"), *words), env, aim.work, policy)
            ended = await supervisor.run(Request(launch, Limits(100, memory_mb=4096)))
    if ended.rc != 0:
        raise AssertionError(f"the probes did not run: {ended.why} {ended.rc} {ended.err[-2000:]}")
    return msgspec.json.decode((work / "results").read_bytes(), type=Results)


async def main(case: str, folder: Path) -> None:
    """Try everything as the case's user, and print the results."""
    if os.geteuid() == 0 and case in "aCDE":
        os.chown(folder, 65534, 65534)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    (folder / "probes").mkdir()
    results = await try_probes(folder / "probes", case)
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
