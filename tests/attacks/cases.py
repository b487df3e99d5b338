"""Runs the driver of one case on a machine that is made so that every user reaches the interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from gpu_worker.sandbox import mounts
from mesh.readable import system_paths
from tests.attacks.driver import Results


class CaseNotPossible(Exception):
    """This machine cannot offer the case; says why."""


def possible() -> str:
    """Return the cases that this user can try."""
    return "AaBCDE" if os.geteuid() == 0 else "aCDE"


def try_case(case: str, folder: Path, only: str = "") -> Results:
    """Try every attack in a case.

    Raises:
        CaseNotPossible: this machine does not have what the case needs.
    """
    last = run_in_case(case, folder, "tests.attacks.driver", only, timeout_s=300, show_errors=bool(only))
    return msgspec.json.decode(last, type=Results)


def run_in_case(
    case: str, folder: Path, module: str, *words: str, stdin: str = "", timeout_s: float, show_errors: bool = False
) -> str:
    """Run a module of the tests in a case, in a new folder, and return the last line that it printed.

    Args:
        case: one of `tests.attacks.corpus.CASES`.
        folder: the new folder; the module gets the case, its subfolder `work` and `words`.
        module: the module to run.
        words: more arguments of it.
        stdin: its standard input.
        timeout_s: seconds that it may take.
        show_errors: whether its standard error is shown.

    Raises:
        CaseNotPossible: this machine does not have what the case needs.
    """
    folder.mkdir()
    for above in (folder, *folder.parents):
        if above != Path(above.root) and above.stat().st_uid == os.geteuid():
            above.chmod(above.stat().st_mode | 0o711)
    work = folder / "work"
    work.mkdir()
    command = [sys.executable, "-P", "-m", module, case, str(work), *words]
    if case != "A" and os.geteuid() == 0:
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _script(folder, command)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MESH_SECRET": "a key"}
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False, env=env, cwd="/"
    )
    sys.stderr.write(done.stderr if show_errors else "")
    if done.returncode:
        if "the sandbox layer namespaces cannot be applied" in done.stderr or done.stderr.startswith("unshare:"):
            raise CaseNotPossible(done.stderr.strip().splitlines()[-1])
        raise AssertionError(done.stderr[-4000:])
    return done.stdout.splitlines()[-1]


def _script(folder: Path, command: list[str]) -> str:
    """Cover the folders that only root can enter by open ones that contain the interpreter and this package alone."""
    paths = [*system_paths(), *(path for path in sys.path if os.path.isdir(path))]
    script = [f"mkdir {folder}/kept", "set -e"]
    for place, closed in enumerate(mounts.obstacles(paths)):
        below = {path for path in paths if path.startswith(f"{closed}/") and os.path.isdir(path)}
        needed = [path for path in sorted(below) if not any(path.startswith(f"{other}/") for other in below)]
        for number, path in enumerate(needed):
            kept = f"{folder}/kept/{place}-{number}"
            script.append(f"mkdir -p '{kept}' && mount --bind '{path}' '{kept}'")
        script.append(f"mount -t tmpfs -o mode=755 tmpfs '{closed}'")
        script += [
            f"mkdir -p '{path}' && mount --bind '{folder}/kept/{place}-{number}' '{path}'"
            for number, path in enumerate(needed)
        ]
    words = " ".join(f"'{word}'" for word in command)
    return "\n".join([*script, f"exec {words}"])
