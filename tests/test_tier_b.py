"""Tier B (root without namespaces): attacks from inside, on a machine made so that its user ids reach the interpreter.

Where the interpreter lies below a folder that only root can enter, which is so on many machines of developers, tier B
fails. In a private mount namespace that folder is covered by an open one with the interpreter in it.
"""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gpu_worker.sandbox import mounts
from mesh.events import RunFinished, Scored
from mesh.readable import system_paths
from tests.test_built_environment import listed, wheel
from tests.test_environment import task

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="REPORTED: tier B is root's; this user has tiers A and C")

PROBE = """
import sys
from pathlib import Path
import anyio, msgspec
from gpu_worker.sandbox_choice import try_tier

async def main() -> None:
    found = await try_tier("B", Path(sys.argv[1]) / "runs")
    print(msgspec.json.encode([found.holds, found.results, str(found)]).decode())

anyio.run(main)
"""


ENVIRONMENT = """
import sys, os
from pathlib import Path
import anyio, msgspec
from tests.test_foreign_tasks import run_all

async def main() -> None:
    folder = Path(sys.argv[1])
    first, second = await run_all(folder / "task", folder, 2)
    print(msgspec.json.encode([first, second]).decode())

anyio.run(main)
"""
EVALUATOR = """
import os, pathlib, socket, subprocess
import tinywheel

def evaluate(path):
    with socket.socket(socket.AF_UNIX) as local:
        pass
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
        network = 1
    except OSError:
        network = 0
    tool = subprocess.run(["mytool"], capture_output=True, text=True, check=True).stdout
    return {
        "combined_score": tinywheel.VALUE,
        "network": network,
        "tool": float(tool),
        "flavour": float(os.environ["FLAVOUR"]),
        "other": float("OTHER" in os.environ),
        "user": float(os.getuid() == 0),
    }
"""


def in_tier_b(folder: Path, probe: str, *, drop: bool = False, **variables: str) -> str:
    """Run Python where the interpreter is in the open; return what it prints.

    With `drop` it may not make namespaces, as root in a container of Docker.
    """
    for above in (folder, *folder.parents):
        if above != Path(above.root) and above.stat().st_uid == os.geteuid():
            above.chmod(above.stat().st_mode | 0o711)
    script = [f"mkdir {folder}/kept", "set -e"]
    for place, closed in enumerate(mounts.obstacles(system_paths())):
        needed = [p for p in system_paths() if p.startswith(f"{closed}/") and os.path.isdir(p)]
        for number, path in enumerate(needed):
            kept = f"{folder}/kept/{place}-{number}"
            script.append(f"mkdir -p '{kept}' && mount --bind '{path}' '{kept}'")
        script.append(f"mount -t tmpfs -o mode=755 tmpfs '{closed}'")
        script += [
            f"mkdir -p '{path}' && mount --bind '{folder}/kept/{place}-{number}' '{path}'"
            for number, path in enumerate(needed)
        ]
    without = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin -- " if drop else ""
    script.append(f"exec {without}'{sys.executable}' -c \"$PROBE\" '{folder}'")
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", "\n".join(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PROBE": probe, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables},
        cwd="/",
    )
    if ("unshare" in done.stderr or "setpriv" in done.stderr) and done.returncode:
        pytest.skip(f"REPORTED: no machine can be made on which tier B is the strongest: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@ROOT
def test_in_tier_b_no_attack_succeeds_except_the_documented_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = in_tier_b(tmp_path_factory.mktemp("tier-b"), PROBE)
    holds, said, why = msgspec.json.decode(found, type=tuple[bool, dict[str, str], str])
    assert holds, why
    assert {name for name, word in said.items() if word == "open"} <= {"connect to a socket by path"}
    assert len(said) > 25


@ROOT
def test_in_tier_b_a_task_has_an_environment_that_is_built_for_it_a_tool_and_a_variable_and_no_network(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tier-b")
    wheel(folder / "wheels", "1.0", 0.25)
    (folder / "tools" / "bin").mkdir(parents=True)
    (folder / "tools" / "number").write_text("0.5")
    (folder / "tools" / "bin" / "mytool").write_text(f"#!/bin/sh\ncat {folder}/tools/number\n")
    (folder / "tools" / "bin" / "mytool").chmod(0o755)
    tool = f'readable = ["{folder}/tools"]'
    made = task(folder / "task", EVALUATOR, f'requirements = "r.txt"\nvariables = ["FLAVOUR"]\n{tool}')
    (made / "r.txt").write_text(listed(folder / "wheels", "tinywheel"))
    path = f"{folder}/tools/bin:{os.environ['PATH']}"
    cache = str(folder / "cache")
    found = in_tier_b(folder, ENVIRONMENT, drop=True, XDG_CACHE_HOME=cache, PATH=path, FLAVOUR="7", OTHER="8")
    for end in msgspec.json.decode(found, type=list[RunFinished]):
        assert isinstance(end.outcome, Scored), end
        assert end.outcome.metrics == {
            "combined_score": 0.25,
            "network": 0,
            "tool": 0.5,
            "flavour": 7,
            "other": 0,
            "user": 0,
        }
        assert (end.tier, end.packages) == ("B", "tinywheel==1.0")
        assert [path.name for path in (folder / "cache" / "mesh" / "environments").glob(end.built)] == [end.built]
