"""A command that waits in namespaces of its own gets what its policy says, and none that it does not want."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.environment import inherited
from gpu_worker.launch import supervisor_options
from gpu_worker.sandbox.contain import LayerFailed, Policy, can_enter_ahead, contain
from gpu_worker.sandbox.tiers import Network, Sandbox, sandbox_of
from gpu_worker.sandbox_choice import choose_tier
from gpu_worker.supervisor.client import Supervisor, start_supervisor
from gpu_worker.supervisor.protocol import NAMESPACES_AHEAD, Launch, Limits, Request

KINDS = ("mnt", "net", "ipc")
LOOK = f"""
import json, os
found = {{kind: os.readlink(f"/proc/self/ns/{{kind}}") for kind in {KINDS}}}
found["devices"] = [line.split(":")[0].strip() for line in open("/proc/self/net/dev") if ":" in line]
found["capabilities"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapB", "CapE"))]
print(json.dumps(found))
"""


async def looked(
    supervisor: Supervisor, folder: Path, sandbox: Sandbox | None, network: Network = "none"
) -> dict[str, Any]:
    work, script = folder / "work", folder / "look.py"
    work.mkdir(exist_ok=True)
    script.write_text(LOOK)
    policy = None
    if sandbox:
        sandbox.give([work])
        policy = sandbox.policy([script], [work], network=network)
    launch = Launch((sys.executable, str(script)), inherited(), str(work), policy)
    ended = await supervisor.run(Request(launch, Limits(20, memory_mb=1000)))
    assert (ended.rc, ended.err) == (0, "")
    found: dict[str, Any] = json.loads(ended.out)
    return found


async def test_a_command_has_the_namespaces_that_its_policy_wants(tmp_path: Path) -> None:
    tier, _ = await choose_tier("auto", tmp_path / "probe")
    if tier != "A":
        return  # this machine has no namespaces for trials
    sandbox, outside = sandbox_of(tier), {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}
    async with start_supervisor(options=(NAMESPACES_AHEAD,)) as supervisor:
        first = await looked(supervisor, tmp_path, sandbox)
        free = await looked(supervisor, tmp_path, None)
        shared = await looked(supervisor, tmp_path, sandbox, "all")
        alone = await looked(supervisor, tmp_path, sandbox, "loopback")
        second = await looked(supervisor, tmp_path, sandbox)
    async with start_supervisor() as supervisor:
        plain = await looked(supervisor, tmp_path, sandbox)
    for found in (first, second, plain, alone):
        assert all(found[kind] != outside[kind] for kind in KINDS)
    assert [free[kind] for kind in ("net", "ipc")] == [outside[kind] for kind in ("net", "ipc")]
    assert (shared["net"], shared["ipc"] == outside["ipc"]) == (outside["net"], False)
    assert "lo" in alone["devices"]
    assert set(alone["devices"]) == set(first["devices"])
    assert first["capabilities"] == second["capabilities"] == plain["capabilities"]
    assert set(first["capabilities"]) <= {"0" * 16} or os.geteuid() != 0


@pytest.mark.parametrize(
    ("policy", "fits"),
    [
        (None, False),
        (Policy(), False),
        (Policy(namespaces=True), True),
        (Policy(namespaces=True, network="loopback"), True),
        (Policy(namespaces=True, network="all"), False),
    ],
)
def test_a_policy_that_wants_no_namespaces_is_never_applied_within_some(policy: Policy | None, fits: bool) -> None:
    assert can_enter_ahead(policy) == fits
    if policy and not fits:
        with pytest.raises(LayerFailed, match="namespaces that its policy does not want"):
            contain(policy, entered=True)


def test_only_slots_whose_trials_have_namespaces_enter_them_ahead() -> None:
    assert [bool(supervisor_options(Sandbox(tier))) for tier in ("A", "B", "C", "D", "E")] == [True, *[False] * 4]
