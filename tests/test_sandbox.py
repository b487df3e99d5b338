"""A sandboxed trial cannot reach out, whoever runs the worker, and can do what it needs, also in a warm start."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
import msgspec
import pytest

from gpu_worker.environment import inherited
from gpu_worker.machine import survey
from gpu_worker.sandbox import landlock, seccomp
from gpu_worker.sandbox.attacks import attacks, deeds
from gpu_worker.sandbox.contain import Policy
from gpu_worker.sandbox.tiers import Sandbox, Tier, sandbox_of
from gpu_worker.sandbox_choice import (
    OPEN_BY_DESIGN,
    TierFinding,
    candidates,
    check_wish,
    choose_tier,
    starts_cuda,
    try_tier,
)
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Ending, Launch, Limits, Request
from mesh.errors import BadInput, HostTrouble
from mesh.events import Failed, Scored
from mesh.memory import MemoryHub
from tests.test_worker import Arena

PROBES = {*attacks({"pid": 1, "secret": "", "evaluator": ""}), *deeds("", cuda=False)}

AS_AN_ORDINARY_USER = """
import os, sys
from gpu_worker.sandbox import kernel, mounts
folder, uid = sys.argv[1], 65534
os.makedirs(folder)
os.chown(folder, uid, uid)
if os.geteuid() == 0:  # the interpreter may be where only root can walk
    kernel.unshare(kernel.NEWNS)
    mounts.arrange(sys.argv[3:], [folder], uid=uid)
    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
import anyio, msgspec
from pathlib import Path
from gpu_worker.sandbox_choice import try_tier
sys.stdout.write(msgspec.json.encode(anyio.run(try_tier, sys.argv[2], Path(folder))).decode())
"""


LIMITS = Limits(100, memory_mb=2000)


async def run_sandboxed(
    sandbox: Sandbox,
    folder: Path,
    code: str,
    *,
    preload: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    limits: Limits = LIMITS,
    cuda: bool = False,
) -> Ending:
    """Run a script in a folder that it may write, sandboxed by a tier."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(textwrap.dedent(code))
    sandbox.give([work])
    policy = sandbox.policy([script], [work], cuda=cuda)
    with anyio.fail_after(300):
        async with start_supervisor(preload) as supervisor:
            seen = inherited() | {"MESH_RUN_TOKEN": supervisor.token, "TMPDIR": str(work), **(env or {})}
            launch = Launch((sys.executable, str(script), "argument"), seen, str(work), policy, warm=bool(preload))
            return await supervisor.run(Request(launch, limits, watch=[str(work)]))


async def strongest(folder: Path) -> Sandbox:
    tier, _ = await choose_tier("auto", folder)
    return sandbox_of(tier)


@pytest.mark.parametrize("tier", candidates())
async def test_a_tier_that_is_offered_blocks_every_attack_and_lets_trials_work(tier: Tier, tmp_path: Path) -> None:
    found = await try_tier(tier, tmp_path / "home")
    if not found.results:  # this machine cannot offer it, and says why
        assert found.error
        assert not found.holds
        return
    assert set(found.results) == PROBES
    assert (found.broken, set(found.open) - OPEN_BY_DESIGN[tier]) == ([], set())


async def test_some_strong_tier_holds_where_the_kernel_has_landlock(tmp_path: Path) -> None:
    tier, findings = await choose_tier("auto", tmp_path)
    assert landlock.abi() > 0
    assert tier in candidates()
    assert [finding.tier for finding in findings] == candidates()[: len(findings)]


@pytest.mark.parametrize("tier", ["A", "C"])
def test_the_tiers_of_an_ordinary_user_hold_too(tier: Tier, tmp_path: Path) -> None:
    paths = [p for p in (*sys.path, sys.prefix, sys.base_prefix, *os.environ["PATH"].split(":")) if os.path.isdir(p)]
    command = [sys.executable, "-c", AS_AN_ORDINARY_USER, str(tmp_path / "home"), tier, *paths]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = msgspec.json.decode(done.stdout, type=TierFinding)
    if tier == "A" and not found.results:  # no user namespaces for ordinary users here
        assert found.error
        return
    assert (found.error, found.broken, set(found.open) - OPEN_BY_DESIGN[tier]) == ("", [], set())


async def test_a_home_whose_path_is_too_long_for_a_socket_has_the_same_sandbox(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["ein-langer-Ordner-ä"] * 6)
    assert (await choose_tier("auto", deep))[0] == (await choose_tier("auto", tmp_path))[0]


async def test_the_self_test_finds_an_open_sandbox(tmp_path: Path) -> None:
    found = await try_tier("E", tmp_path)
    assert {"read a secret file", "connect by TCP", "write the evaluator", "set up io_uring"} <= set(found.open)


async def test_a_tier_in_which_cuda_does_not_start_is_not_for_trials_with_a_gpu(tmp_path: Path) -> None:
    tier, _ = await choose_tier("auto", tmp_path)
    found = await try_tier(tier, tmp_path, cuda=True)
    if starts_cuda(survey("auto", None)):
        assert found.holds
    else:
        [broken] = found.broken
        assert broken.startswith("start CUDA (RuntimeError: ")
        assert not found.holds


def test_a_weaker_sandbox_is_never_taken_silently() -> None:
    open_sandbox = TierFinding("C", dict.fromkeys(PROBES, "open"))
    assert not open_sandbox.holds
    assert "open: connect by TCP" in str(open_sandbox)
    assert [check_wish(weak=w, none=n) for w, n in ((False, False), (True, False), (False, True))] == [
        "auto",
        "weak",
        "none",
    ]
    with pytest.raises(BadInput, match="exclude each other"):
        check_wish(weak=True, none=True)


async def test_a_layer_that_cannot_be_applied_is_trouble_of_the_machine(tmp_path: Path) -> None:
    broken = Launch(("true",), {}, "/", Policy(landlock=True, seccomp=True, limits={"NONSENSE": 1}))
    async with start_supervisor() as supervisor:
        with pytest.raises(HostTrouble, match=r"the sandbox layer limits cannot be applied"):
            await supervisor.run(Request(broken, Limits(100, memory_mb=1000)))
        assert (await supervisor.run(Request(Launch(("true",), inherited(), "/"), Limits(100, memory_mb=1000)))).rc == 0


@pytest.mark.greedy
@pytest.mark.parametrize(
    ("code", "why", "limits"),
    [
        ("b = [bytearray(b'1' * (32 << 20)) for _ in iter(int, 1)]", "memory", Limits(100, memory_mb=300)),
        (
            "import os\nwhile True: open(f'f{os.urandom(4).hex()}', 'wb').write(b'x' * (4 << 20))",
            "disk",
            Limits(100, memory_mb=2000, disk_mb=200),
        ),
        (
            "import os, time\nfor n in range(400):\n    if os.fork() == 0: time.sleep(50)\ntime.sleep(50)",
            "processes",
            Limits(45, memory_mb=20_000, processes=100),
        ),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", "output", LIMITS),
        (
            "import os\nfor n in iter(int, 1): os.close(os.open(os.urandom(8).hex(), os.O_CREAT | os.O_WRONLY))",
            "disk",
            Limits(200, memory_mb=2000, disk_mb=100_000),
        ),
    ],
    ids=["memory", "disk", "processes", "output", "inodes"],
)
async def test_a_bomb_ends_the_trial_and_not_the_worker(tmp_path: Path, code: str, why: str, limits: Limits) -> None:
    ended = await run_sandboxed(await strongest(tmp_path), tmp_path / "run", code, limits=limits)
    assert ended.why == why


async def test_a_warm_start_is_as_if_python_had_run_the_script(tmp_path: Path) -> None:
    code = """
    import os, sys, threading, time, atexit
    began = time.process_time()
    assert "decimal" in sys.modules or not os.environ["WARM"]
    assert __name__ == "__main__" and sys.modules["__main__"].__file__ == __file__ == sys.argv[0]
    assert sys.argv[1:] == ["argument"] and os.path.basename(sys.path[0]) == "run"
    assert not any(name.partition(".")[0] in ("gpu_worker", "mesh") for name in sys.modules)
    assert os.getcwd().endswith("work") and sys.stdin.read() == ""
    assert sorted(os.listdir("/proc/self/fd"))[:3] == ["0", "1", "2"] and len(os.listdir("/proc/self/fd")) == 4
    assert began < 2 and os.getsid(0) == os.getpid()
    atexit.register(print, "last")
    threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
    print(sorted(name for name in os.environ if name != "LC_CTYPE"))
    sys.exit(3)
    """
    said = []
    for preload in ((), ("decimal",)):
        ended = await run_sandboxed(
            await strongest(tmp_path), tmp_path / "run", code, preload=preload, env={"WARM": "1" if preload else ""}
        )
        assert (ended.rc, ended.why, ended.err) == (3, "", "")
        said.append(ended.out)
    assert said[0] == said[1]
    assert said[0].endswith("thread\nlast\n")


async def test_an_error_in_a_warm_start_shows_the_script_alone(tmp_path: Path) -> None:
    ended = await run_sandboxed(
        await strongest(tmp_path), tmp_path / "run", "def f():\n    1 / 0\nf()", preload=("decimal",)
    )
    assert ended.rc == 1
    assert ended.err.splitlines()[0] == "Traceback (most recent call last):"
    assert ended.err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "gpu_worker" not in ended.err


async def test_a_trial_that_reads_its_worker_learns_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    code = """
    import glob
    for path in [*glob.glob("/proc/[0-9]*/environ"), *glob.glob("/proc/[0-9]*/cmdline")]:
        try: print(open(path, "rb").read())
        except OSError: pass
    """
    ended = await run_sandboxed(await strongest(tmp_path), tmp_path / "run", code)
    assert ended.rc == 0
    assert "sk-secret" not in ended.out


async def test_a_trial_with_a_gpu_writes_below_proc_for_itself_alone(tmp_path: Path) -> None:
    code = """
    import os, threading
    def may_write(path):
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError:
            return False
        return True
    own = f"/proc/self/task/{threading.get_native_id()}/comm"
    print(*(may_write(path) for path in (own, f"/proc/{os.getppid()}/oom_score_adj", f"/proc/{os.getppid()}/comm")))
    """
    ended = await run_sandboxed(sandbox_of("C"), tmp_path / "run", code, cuda=True)
    assert (ended.rc, ended.out, ended.err) == (0, "True False False\n", "")


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_of_system_calls_jumps_to_where_it_should(machine: str) -> None:
    steps = seccomp.program(machine, (1,), (100, -200))
    allow, refuse = 0x7FFF0000, 0x00050000

    def verdict(number: int, first: int = 0, architecture: int | None = None, second: int = 0, third: int = 0) -> int:
        """Run the filter as the kernel would."""
        native = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
        seen = {0: number, 4: native if architecture is None else architecture}
        seen |= {16: first & 0xFFFFFFFF, 24: second, 32: third}
        place = value = 0
        while True:
            operation, yes, no, k = steps[place]
            place += 1
            match operation:
                case 0x20:
                    value = seen[k]
                case 0x06:
                    return k
                case 0x15:
                    place += yes if value == k else no
                case 0x35:
                    place += yes if value >= k else no
                case 0x45:
                    place += yes if value & k else no

    kill, socket, clone, ptrace = {"x86_64": (62, 41, 56, 101), "aarch64": (129, 198, 220, 117)}[machine]
    assert verdict(0 if machine == "x86_64" else 63) == allow
    assert verdict(ptrace) == refuse | 1
    assert [verdict(kill, pid) for pid in (99, 100, -200, -1, 0)] == [allow, refuse | 1, refuse | 1, refuse | 1, allow]
    assert [verdict(socket, family) for family in (1, 2, 17)] == [allow, refuse | 13, refuse | 13]
    assert [verdict(clone, flags) for flags in (0x01200011, 0x10000000)] == [allow, refuse | 1]
    prctl = {"x86_64": 157, "aarch64": 167}[machine]
    assert [verdict(prctl, option) for option in (1, 4)] == [allow, refuse | 1]
    fcntl, ioctl = {"x86_64": (72, 16), "aarch64": (25, 29)}[machine]
    assert [verdict(fcntl, 0, second=command) for command in (1, 3, 8, 10, 1024)] == [allow] * 2 + [refuse | 1] * 3
    assert [verdict(ioctl, 9, second=command) for command in (0x5401, 0x40086602)] == [allow, refuse | 1]
    setxattr, shmget, affinity, priority = {"x86_64": (188, 29, 203, 141), "aarch64": (5, 194, 122, 140)}[machine]
    assert [verdict(setxattr), verdict(shmget), verdict(affinity, 5), verdict(priority, 2)] == [refuse | 95] + [
        allow
    ] * 3
    steps = seccomp.program(machine, (1,), (100, -200), own=1000, shares_ipc=True, signals_scoped=False)
    assert verdict(shmget) == refuse | 38
    assert [verdict(affinity, pid) for pid in (0, 1000, 999, 1001)] == [allow, allow, refuse | 1, refuse | 1]
    kinds = [(0, 0), (0, 1000), (0, 999), (1, 0), (2, 0), (2, 1000)]
    verdicts = [verdict(priority, kind, second=who) for kind, who in kinds]
    assert verdicts == [allow, allow, *[refuse | 1] * 4]
    targets = (0, 1000, 5000, -1000, -5000, 1, 999, -1, -999)
    assert [verdict(kill, pid) for pid in targets] == [allow] * 5 + [refuse | 1] * 4
    openat, truncate = {"x86_64": (257, 76), "aarch64": (56, 45)}[machine]
    assert [verdict(truncate), verdict(openat, third=os.O_TRUNC)] == [allow, allow]
    steps = seccomp.program(machine, (1,), (100, -200), own=1000, truncation_scoped=False)
    flags = (0, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_TRUNC, os.O_TRUNC, os.O_TRUNC | os.O_CREAT)
    assert [verdict(openat, third=flag) for flag in flags] == [allow] * 3 + [refuse | 1] * 2
    assert [verdict(truncate), verdict(437)] == [refuse | 1, refuse | 38]
    fchmodat, utimensat, fchownat = {"x86_64": (268, 280, 260), "aarch64": (53, 88, 54)}[machine]
    assert [verdict(number) for number in (fchmodat, utimensat, fchownat)] == [allow] * 3
    steps = seccomp.program(machine, (1,), (100, -200), own=1000, asks=True)
    assert [verdict(number) for number in (fchmodat, utimensat, fchownat)] == [0x7FC00000] * 2 + [refuse | 1]
    anew = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    ways = (anew, os.O_RDONLY, os.O_TRUNC, anew | os.O_CLOEXEC)
    for scoped, truncates in ((True, allow), (False, refuse | 1)):
        steps = seccomp.program(machine, (1,), (100,), own=1000, truncation_scoped=scoped, asks_names=True)
        assert [verdict(openat, third=way) for way in ways] == [0x7FC00000, allow, truncates, allow]
    assert verdict(435) == refuse | 38
    assert verdict(1, architecture=0x40000003) == 0x80000000


async def test_a_scorer_and_its_predictor_talk_over_pipes(tmp_path: Path) -> None:
    sandbox = await strongest(tmp_path)
    env = inherited()
    answer = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"
    ask = "import os\nos.write(3, b'hello\\n'); print(os.read(4, 100).decode().strip())"
    policies = sandbox.policy([], [tmp_path]), sandbox.policy([], [tmp_path], scorer=True)
    (tmp_path / "home").mkdir()
    with suppress(OSError):
        tmp_path.chmod(0o755)
    async with start_supervisor() as supervisor:
        token = {"MESH_RUN_TOKEN": supervisor.token}
        beside = Launch((sys.executable, "-c", answer), env | token, "/", policies[0])
        ended = await supervisor.run(
            Request(
                Launch((sys.executable, "-c", ask), env | token, "/", policies[1]),
                Limits(100, memory_mb=1000),
                beside=beside,
            )
        )
    assert (ended.rc, ended.out) == (0, "HELLO\n")


@pytest.mark.parametrize(
    ("result", "reason", "words"),
    [
        ("'{\"loss\": 1e999}'", "no_score", "must be a JSON object of numbers"),
        ("'{\"loss\": 1e308}'", "bad_score", "not a finite number of at most 1e+100"),
        ("'{\"loss\": -Infinity}'", "bad_score", "not finite"),
        ("'{\"loss\": ' + '1' * 100_000_000 + '}'", "no_score", "scoring printed more than 64 MB"),
        ("'[' * 1_000_000", "no_score", "must be a JSON object of numbers"),
    ],
    ids=["beyond a float", "beyond the bounds", "infinite", "a hundred million digits", "nested a million times"],
)
async def test_no_huge_result_is_a_score_or_harms_the_worker(
    tmp_path: Path, result: str, reason: str, words: str
) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    done = await arena.run(f"(out / 'score.json').write_text({result})")
    assert isinstance(done.outcome, Failed)
    assert (done.outcome.reason, words in done.outcome.message) == (reason, True), done.outcome
    assert len(done.outcome.message) < 1000


async def test_only_a_few_of_very_many_metrics_are_kept(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    done = await arena.run(
        "(out / 'score.json').write_text(json.dumps({'loss': 1, **{f'm{n}': n for n in range(999)}}))"
    )
    assert isinstance(done.outcome, Scored)
    assert (done.outcome.value, len(done.outcome.metrics)) == (1, 64)
