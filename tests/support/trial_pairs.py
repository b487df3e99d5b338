"""Runs pairs of trials in one tier: `python -m tests.support.trial_pairs CASE FOLDER` prints what each trial printed.

Standard input is a JSON list of pairs of scripts. Between two trials of a pair, the worker does what it always does.
"""

import json
import sys
from pathlib import Path

import anyio
import msgspec

from gpu_worker.budget import trial_budget
from gpu_worker.folders import clear, lay_out_trial
from gpu_worker.launch import Site, trial_request
from gpu_worker.machine import Slot
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.supervisor.client import Supervisor, start_supervisor
from mesh.events import RunRequested
from mesh.file_trees import delete
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec
from tests.attacks.cases import run_in_case
from tests.attacks.driver import become_the_user_of, sandbox_in

SPEC = ArenaSpec(
    name="a",
    objective=ObjectiveSpec(metric="loss", direction="minimize"),
    artifact=ArtifactSpec(editable=("train.py",)),
    trial=TrialSpec(command=("python", "train.py"), budget_s=30, deadline_s=30, memory_gb=4),
    score=ScoreSpec(how="command", command=("python", "score.py")),
)
REQUEST = RunRequested(run="r", lane="explore", proposal="1" * 40, commit="1" * 40, seed=1, budget_s=30, deadline_s=30)
Printed = list[list[str]]


def try_pairs(case: str, folder: Path, pairs: list[tuple[str, str]]) -> Printed:
    """Run pairs of trials in a case of `tests.attacks.corpus`; return what they printed.

    Raises:
        CaseNotPossible: this machine does not have what the case needs.
    """
    last = run_in_case(case, folder, "tests.support.trial_pairs", stdin=json.dumps(pairs), timeout_s=110)
    return msgspec.json.decode(last, type=Printed)


async def _run(code: str, folder: Path, sandbox: Sandbox, supervisor: Supervisor, data: Path) -> str:
    site = Site(SPEC, REQUEST, folder, Slot(0, "cpu", 1), sandbox, data, supervisor.token, 1)
    lay_out_trial(folder, {"train.py": code.encode()}, ("train.py",), sandbox, data=data)
    budget = trial_budget(SPEC, REQUEST.budget_s, site.slot, sees_gpu=False)
    ended = await supervisor.run(trial_request(site, budget))
    clear(folder, sandbox)
    return ended.out if ended.rc == 0 else f"{ended.rc} {ended.why} {ended.out} {ended.err}"


async def main(case: str, folder: Path) -> None:
    """Run the pairs as the case's user."""
    pairs: list[tuple[str, str]] = json.load(sys.stdin)
    become_the_user_of(case, folder)
    folder.chmod(0o711)
    data = folder / "data"
    (data / "public" / "inner").mkdir(parents=True)
    (data / "private").mkdir()
    for name in ("public/x", "public/inner/y", "private/z"):
        (data / name).write_text("x")
        (data / name).chmod(0o444)
    sandbox = sandbox_in(case)
    printed = []
    async with start_supervisor() as supervisor:
        for place, pair in enumerate(pairs):
            printed.append([await _run(code, folder / f"run-{place}", sandbox, supervisor, data) for code in pair])
    delete(folder)
    sys.stdout.write(json.dumps(printed) + "\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
