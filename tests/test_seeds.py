"""A trial cannot see why it runs: its environment is the same in search and in proof."""

import re
from pathlib import Path

import msgspec
import numpy as np

from gpu_worker.seeds import told_seed
from mesh.events import ArenaOpened, Lane, RunRequested, Scored
from mesh.memory import MemoryHub
from tests.test_worker import SPEC, Arena

OPENED = ArenaOpened(version=1, spec=SPEC, base_commit="c" * 40, base_tree="b" * 40, evaluator="e" * 64, data="d" * 64)
SEEN = """
print({name: value for name, value in os.environ.items() if name != "MESH_SEED"})
print(os.getcwd(), sys.argv, open("/proc/self/cgroup").read())
pid = os.getppid()
for _ in range(3):
    print(open(f"/proc/{pid}/cmdline").read()[:200] if pid else "")
    pid = pid and int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
(out / "score.json").write_text(json.dumps({"loss": 1, "seed": int(os.environ["MESH_SEED"])}))
"""


def told(proposal: str, lane: Lane, seed: int, opened: ArenaOpened = OPENED) -> int:
    request = RunRequested(
        run=f"{proposal}-{lane}-{seed}",
        lane=lane,
        proposal=proposal * 40,
        commit="1" * 40,
        seed=seed,
        budget_s=1,
        deadline_s=1,
    )
    return told_seed(opened, request)


def test_proposals_meet_on_the_same_seeds_in_proof_and_on_their_own_in_search() -> None:
    for lane in ("confirm", "control", "audit"):
        assert told("a", lane, 1000) == told("b", lane, 1000) == told("a", "confirm", 1000)
    assert told("a", "explore", 1) == told("a", "explore", 1) != told("b", "explore", 1)
    assert told("a", "confirm", 1000) != told("a", "confirm", 1001)
    changed = [msgspec.structs.replace(OPENED, **{name: "f" * 40}) for name in ("base_commit", "evaluator", "data")]
    assert len({told("a", "confirm", 1000, opened) for opened in (OPENED, *changed)}) == 4


def test_seeds_of_search_and_of_proof_look_alike_and_fit_every_library() -> None:
    search = [told(letter, "explore", seed) for letter in "0123456789abcdef" for seed in range(100)]
    proof = [told("a", "confirm", seed) for seed in range(1000, 2600)]
    assert len({*search, *proof}) == 3200
    assert min(search + proof) >= 1
    assert max(search + proof) < 2**31
    assert 0.9 < np.mean(search) / np.mean(proof) < 1.1
    np.random.default_rng(max(proof))
    np.random.RandomState(max(proof))


async def test_nothing_that_a_trial_sees_tells_search_from_proof(tmp_path: Path) -> None:
    arena = Arena(await MemoryHub().arena("a", create=True), tmp_path)
    await arena.open()
    lanes: tuple[Lane, ...] = ("explore", "confirm", "control")
    for place, lane in enumerate(lanes):
        await arena.request(SEEN, f"run-of-{lane}-{place}", lane=lane)
    seen, seeds = set(), []
    async with arena.worker():
        for place, lane in enumerate(lanes):
            done = await arena.finished(f"run-of-{lane}-{place}")
            assert "TMPDIR" in done.log_tail, done.outcome
            assert isinstance(done.outcome, Scored), done.outcome
            assert not re.search(r"explore|confirm|control|audit|run-of", done.log_tail)
            seen.add(re.sub(r"[0-9a-f]{8,}|\d+", "#", done.log_tail))
            seeds.append(done.outcome.metrics["seed"])
    assert len(seen) == 1
    assert seeds[1] == seeds[2] != seeds[0]
    assert 7 not in seeds
