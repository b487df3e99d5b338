"""Attacks one tier on this machine: `python -m tests.attacks.driver CASE FOLDER [FAMILY]` prints what each achieved.

With a part of a family's name it tries these attacks alone, and says on the way how long each took.
"""

import ctypes
import dataclasses
import glob
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import msgspec

from gpu_worker.environment import inherited
from gpu_worker.folders import lay_out_trial
from gpu_worker.launch import supervisor_options
from gpu_worker.sandbox import kernel
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.supervisor.client import SupervisorDied, start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from mesh.events import Scored
from tests.attacks import between_trials
from tests.attacks.corpus import Targets
from tests.attacks.families import PLANS
from tests.attacks.plans import Plan, PlanFamily
from tests.attacks.survival import MARK
from tests.attacks.whole_run import COLD, SCORERS, SPEC, Bench, bench

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
        private_socket = stack.enter_context(socket.socket(socket.AF_UNIX))
        private_socket.bind(str(folder / "socket.private"))
        private_socket.listen()
        os.chmod(folder / "socket.private", 0o600)
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
        async with start_supervisor(options=supervisor_options(sandbox)) as supervisor:
            env = inherited() | {"MESH_RUN_TOKEN": supervisor.token, "TMPDIR": aim.work}
            aimed = dataclasses.replace(aim, supervisor=supervisor.process.pid)
            words = json.dumps(dataclasses.asdict(aimed)), f"{work}/results"
            launch = Launch((sys.executable, "-I", str(folder / "given" / "probes.zip"), *words), env, aim.work, policy)
            ended = await supervisor.run(Request(launch, Limits(100, memory_mb=4096)))
    if ended.rc != 0:
        raise AssertionError(f"the probes did not run: {ended.why} {ended.rc} {ended.err[-2000:]}")
    return msgspec.json.decode((work / "results").read_bytes(), type=Results)


async def try_plans(folder: Path, case: str, families: list[PlanFamily]) -> Results:
    """Try attacks that need a whole run, each in a run of its own, one after the other in one slot."""
    results: Results = {}
    plans = [item for family in families if case in family.cases for item in family.plans.items()]
    todo = [(name, plan) for name, plan in plans if case == "E" or not plan.weakest]
    while todo:  # an attack that ends the supervisor costs the slot
        async with bench(folder / str(len(todo)), sandbox_in(case)) as slot:
            while todo:
                name, plan = todo.pop(0)
                began = time.monotonic()
                try:
                    results[name] = await try_plan(slot, plan)
                except SupervisorDied:
                    results[name] = "open", "it ended its supervisor"
                    break
                except Exception as error:
                    results[name] = "open", f"it harmed the worker: {type(error).__name__}: {error}"
                    break
                finally:
                    if len(families) == 1:
                        sys.stderr.write(f"{time.monotonic() - began:6.2f} {name} {results.get(name)}\n")
    return results


async def try_pairs(folder: Path, case: str) -> Results:
    """Try what a trial can leave to a later one, and then what the code that answers a scorer can leave."""
    step = "import sys; sys.path.insert(0, '.')\nfrom tests.attacks.between_trials import main\n"
    step += "main({0!r}, {1}, os.environ['{2}'] + '/pairs')\n"
    found, left = list[dict[str, str]](), dict[str, str]()
    async with bench(folder, sandbox_in(case)) as slot:
        for key in (random.randrange(10**6, 10**8), random.randrange(10**8, 10**9)):
            leave = step.format("leave", key, "MESH_OUT") if not found else "win(1)"
            answer = "import os\ninput()\n" + step.format("leave", key, "TMPDIR") + "print(1, flush=True)"
            score, predict = (SCORERS["ask"], answer) if found else (SCORERS["guess"], "")
            _, first = await slot.run(leave, score=score, predict=predict, with_attacks=True)
            if not found:
                left = msgspec.json.decode((first / "out" / "pairs").read_bytes(), type=dict[str, str])
            slot.clear(first)
            _, second = await slot.run(step.format("look", key, "MESH_OUT"), with_attacks=True)
            found.append(msgspec.json.decode((second / "out" / "pairs").read_bytes(), type=dict[str, str]))
            between_trials.clear(key)
            slot.clear(second)
    said = {name: left[name] or found[0][name] for name in found[0]}
    results = {name: ("blocked" if words else "open", words) for name, words in said.items()}
    open_ways = [name for name, words in found[1].items() if not words and name not in between_trials.EXCEPT]
    return results | {between_trials.ANSWERED: ("open" if open_ways else "blocked", ", ".join(open_ways))}


async def try_plan(slot: Bench, plan: Plan) -> tuple[str, str]:
    """Try one; return whether it achieved its goal.

    Raises:
        Exception: it harmed the worker.
    """
    result, folder = await slot.run(
        plan.train.replace(MARK, _mark()),
        spec=COLD if plan.cold else SPEC,
        score=SCORERS[plan.score],
        predict=plan.predict,
        deadline_s=plan.deadline_s,
    )
    slot.clear(folder)
    outcome = result.outcome
    living = [path for path in glob.glob("/proc/[0-9]*/comm") if _is_marked(path)]
    reached = {
        "zero": isinstance(outcome, Scored) and outcome.value == 0,
        "any": isinstance(outcome, Scored),
        "late": isinstance(outcome, Scored),
        "harm": False,
        "survive": bool(living),
    }
    for path in living:
        os.kill(int(path.split("/")[2]), signal.SIGKILL)
    return "open" if reached[plan.goal] else "blocked", str(outcome)[:200]


def _mark() -> str:
    """Return the name of processes that live on, which is that of this driver alone; at most 15 letters."""
    return f"lives-{os.getpid()}"


def _is_marked(path: str) -> bool:
    try:
        with open(path) as name, open(path.replace("comm", "stat")) as stat:
            return name.read().strip() == _mark() and stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def forbid_namespaces() -> None:
    """Refuse new namespaces to this process and its children, as most containers do."""
    numbers = {"x86_64": (272, 56, 435), "aarch64": (97, 220, 435)}[os.uname().machine]
    refuse, allow = 0x00050001, 0x7FFF0000
    steps = [(0x20, 0, 0, 0), (0x15, 0, 1, numbers[0]), (0x06, 0, 0, refuse), (0x15, 0, 1, numbers[2])]
    steps += [(0x06, 0, 0, 0x00050026), (0x15, 0, 3, numbers[1]), (0x20, 0, 0, 16), (0x45, 0, 1, 0x7E020000)]
    steps += [(0x06, 0, 0, refuse), (0x06, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(head)))


def become_the_user_of(case: str, folder: Path) -> None:
    """Become an ordinary user where the case wants one, and own the folder."""
    if os.geteuid() == 0 and case in "aCDE":
        os.chown(folder, 65534, 65534)
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


async def main(case: str, folder: Path, *only: str) -> None:
    """Try everything as the case's user, and print the results."""
    become_the_user_of(case, folder)
    if case in "BCDE":
        forbid_namespaces()
    for name in ("probes", "plans"):
        (folder / name).mkdir(mode=0o711)
    plans = [family for family in PLANS if "".join(only) in family.name]
    results = {} if any(only) else await try_probes(folder / "probes", case)
    if "".join(only) in between_trials.FAMILY.name:
        results |= await try_pairs(folder / "pairs", case)
    results |= await try_plans(folder / "plans", case, plans)
    sys.stdout.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]), *sys.argv[3:4])
