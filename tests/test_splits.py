"""The score program is told its split and the number of candidates before; the candidate is told neither."""

from pathlib import Path

from msgspec.structs import replace

from mesh.events import HoldoutOpened, Scored
from mesh.memory import MemoryHub
from mesh.spec import ScoreSpec
from tests.test_worker import SPEC, Arena

SCORE = """
import json, os
splits = ["search", "confirm", "sealed"]
with os.fdopen(4, "rb") as answers:
    seen = answers.read().decode().split()
trial = open(os.path.join(os.environ["MESH_OUT"], "seen")).read().split()
print(json.dumps({
    "loss": splits.index(os.environ["MESH_SPLIT"]),
    "trials": int(os.environ["MESH_TRIALS"]),
    "seen": len(seen) + len(trial),
}))
"""
SEEN = "[n for n in ('MESH_SPLIT', 'MESH_TRIALS', 'MESH_STAGE') if n in os.environ]"
TRIAL = f"(out / 'seen').write_text(' '.join({SEEN}))"
PREDICT = f"import os; print(' '.join({SEEN}))"


async def test_a_scorer_is_told_split_and_tries_from_the_log_and_the_candidate_is_not(tmp_path: Path) -> None:
    command = ("python", "score.py")
    score = ScoreSpec(how="command", command=command, predict=("python", "-c", PREDICT), deadline_s=20)
    spec = replace(SPEC, score=score, selection=replace(SPEC.selection, sealed="report"))
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open(spec, score=SCORE)
    found: list[tuple[float, float, float]] = []
    async with arena.worker():
        for number, lane in enumerate(("explore", "confirm", "control", "audit", "sealed")):
            if lane == "sealed":
                tree = (await arena.finished("r0")).proposal
                await arena.post(HoldoutOpened(version=1, look=1, proposal=tree))
            await arena.request(TRIAL if number != 1 else f"{TRIAL}\nother = 1", f"r{number}", lane=lane)
            outcome = (await arena.finished(f"r{number}")).outcome
            assert isinstance(outcome, Scored), outcome
            found.append((outcome.value, outcome.metrics["trials"], outcome.metrics["seen"]))
    assert found == [(0, 0, 0), (1, 1, 0), (1, 2, 0), (0, 2, 0), (2, 2, 0)]
