"""A run with the worker's own folders, supervisor, sandbox and scorer, whose trial is an attacker."""

import json
import random
import textwrap
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from gpu_worker.folders import clear
from gpu_worker.launch import supervisor_options
from gpu_worker.machine import Slot
from gpu_worker.run import Result, RunInputs, execute
from gpu_worker.sandbox.tiers import Sandbox
from gpu_worker.supervisor.client import Supervisor, start_supervisor
from mesh.events import ArenaOpened, RunRequested
from mesh.spec import ArenaSpec, ArtifactSpec, ObjectiveSpec, ScoreSpec, TrialSpec

HERE = Path(__file__).parent
GUESS = """
import json, os, pathlib
out, private = (pathlib.Path(os.environ[name]) for name in ("MESH_OUT", "MESH_PRIVATE"))
found = [path for path in (out / "guess", out / "a" / "guess") if path.exists()]
print(json.dumps({"loss": abs(int(found[0].read_text()) - int((private / "answer").read_text()))}))
"""
"""A scorer: the loss is how far the guess is from a number that no trial can know."""

ECHO = """
import os, pathlib
print((pathlib.Path(os.environ["MESH_OUT"]) / "guess").read_text())
"""
ASK = """
import json, os, pathlib
os.write(3, b"7\\n")
answer = os.read(4, 100).decode().strip() or "0"
private = int((pathlib.Path(os.environ["MESH_PRIVATE"]) / "answer").read_text())
print(json.dumps({"loss": 0 if answer == "changed" else abs(int(answer) - private)}))
"""
"""A scorer that asks the predictor; the answer `changed` says that an attack succeeded."""
SCORERS = {"guess": GUESS, "echo": ECHO, "ask": ASK}
TRIAL = """
import ctypes, json, os, pathlib, signal, socket, sys, time
out = pathlib.Path(os.environ["MESH_OUT"])
def win(text):
    (out / "guess").write_text(str(text))
"""
SPEC = ArenaSpec(
    name="a",
    objective=ObjectiveSpec(metric="loss", direction="minimize", bounds=(0, 1e6)),
    artifact=ArtifactSpec(editable=("train.py", "predict.py")),
    trial=TrialSpec(
        command=("python", "train.py"), budget_s=5, deadline_s=6, memory_gb=0.125, disk_gb=0.05, preload=("json",)
    ),
    score=ScoreSpec(how="command", command=("python", "score.py"), deadline_s=3),
)
COLD = msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(SPEC.trial, preload=()))


class Bench:
    """A slot of a worker."""

    def __init__(self, folder: Path, sandbox: Sandbox, supervisor: Supervisor) -> None:
        self.folder, self.sandbox, self.supervisor = folder, sandbox, supervisor
        self.data, self.answer = folder / "data", random.randrange(1000, 10**6)
        for part in ("public", "private"):
            (self.data / part).mkdir(parents=True)
        (self.data / "public" / "x").write_text("x")
        (self.data / "private" / "answer").write_text(str(self.answer))

    async def run(
        self,
        train: str,
        *,
        spec: ArenaSpec = SPEC,
        score: str = GUESS,
        predict: str = "",
        deadline_s: float = 6,
        with_attacks: bool = False,
    ) -> tuple[Result, Path]:
        """Run an attacker's trial and score it; return the result, and the run's folder as the scorer left it.

        Raises:
            Exception: the worker was harmed.
        """
        base = {"train.py": b"", "predict.py": b"", "score.py": score.encode()}
        code = {"train.py": (TRIAL + textwrap.dedent(train)).encode(), "predict.py": textwrap.dedent(predict).encode()}
        for path in (HERE.parent / "__init__.py", *HERE.glob("*.py")) if with_attacks else ():
            base[str(path.relative_to(HERE.parents[1]))] = path.read_bytes()
        if predict:
            score_spec = msgspec.structs.replace(spec.score, predict=("python", "predict.py"))
            spec = msgspec.structs.replace(spec, score=score_spec)
        request = RunRequested(
            run=f"r{uuid.uuid4().hex[:6]}",
            lane="explore",
            proposal="1" * 40,
            commit="c",
            seed=1,
            budget_s=spec.trial.budget_s,
            deadline_s=deadline_s,
        )
        opened = ArenaOpened(version=1, spec=spec, base_commit="b", base_tree="2" * 40, evaluator="e")
        begun, folder = anyio.Event(), self.folder / "runs" / request.run
        begun.set()

        async def tell(line: bytes) -> None:
            json.loads(line)

        with anyio.fail_after(60):
            measured = await execute(
                RunInputs(request, opened, base, base | code, self.data),
                Slot(0, "cpu", 1),
                self.supervisor,
                self.sandbox,
                folder,
                begun=begun,
                tell=tell,
                killed=lambda: False,
            )
            result = await measured.judge()
        return result, folder

    def clear(self, folder: Path) -> None:
        """Delete what a run left as a worker does.

        Raises:
            FileExistsError: something is left.
        """
        clear(folder, self.sandbox)
        if folder.exists():
            raise FileExistsError(f"{folder} cannot be deleted")


@asynccontextmanager
async def bench(folder: Path, sandbox: Sandbox) -> AsyncIterator[Bench]:
    """Set up a slot."""
    folder.mkdir()
    folder.chmod(0o711)
    async with start_supervisor(("json",), options=supervisor_options(sandbox)) as supervisor:
        yield Bench(folder, sandbox, supervisor)
