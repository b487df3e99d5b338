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
from mesh.readable import system_paths

PROBE = """
import sys
from pathlib import Path
import anyio, msgspec
from gpu_worker.sandbox_choice import try_tier

async def main() -> None:
    found = await try_tier("B", Path(sys.argv[1]))
    print(msgspec.json.encode([found.holds, found.results, str(found)]).decode())

anyio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="REPORTED: tier B is root's; this user has tiers A and C")
def test_in_tier_b_no_attack_succeeds_except_the_documented_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tier-b")
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
    script.append(f"exec '{sys.executable}' -c \"$PROBE\" '{folder}/runs'")
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", "\n".join(script)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env={**os.environ, "PROBE": PROBE, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        cwd="/",
    )
    if "unshare" in done.stderr and done.returncode:
        pytest.skip(f"REPORTED: no mount namespace to lay the interpreter bare in: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr[-2000:]
    holds, said, why = msgspec.json.decode(done.stdout.splitlines()[-1], type=tuple[bool, dict[str, str], str])
    assert holds, why
    assert {name for name, word in said.items() if word == "open"} <= {"connect to a socket by path"}
    assert len(said) > 25
