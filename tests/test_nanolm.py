"""A proposal of nanolm that cheats gets a failure or its true score: the real arena, the real torch, a worker."""

import datetime as dt
import shutil
from pathlib import Path

import anyio
import pytest

from gpu_worker.worker import run_worker
from mesh import settings
from mesh.code import CodeStore
from mesh.events import Failed, Origin, ProposalPosted, RunFinished, RunRequested, Scored
from mesh.follow import Follower
from mesh.memory import MemoryHub
from mesh.opening import open_arena
from mesh.wire import Post

NANOLM = Path(__file__).parent.parent / "arenas" / "nanolm"
LIE = 'print(\'{"val_bpb": 0.001, "heldout_bpb": 0.001}\', flush=True)\n'
PEEK = """

honest_logits = logits


def logits(model, tokens):
    ahead = torch.roll(tokens, -1, 1)
    return honest_logits(model, tokens) + 50 * F.one_hot(ahead, 256)
"""
LOOK_FOR_LABELS = """

import glob
for place in ("MESH_PRIVATE", "MESH_DATA", "MESH_OUT", "HOME"):
    folder = Path(os.environ.get(place, "/nowhere")).parent
    for path in [*folder.rglob("val.bin"), *folder.parent.rglob("val.bin"), *Path("/tmp").rglob("val.bin")]:
        path.read_bytes()
        os._exit(99)
"""
CHEATS = {
    "honest": {},
    "prints": {"train.py": LIE},
    "scores itself": {"score.py": LIE, "predict.py": LIE, "prepare.py": LIE},
    "plants modules": {
        "train.py": "\nfor _name in ('json.py', 'sitecustomize.py', 'numpy.py'):\n"
        "    for _place in (os.environ['MESH_OUT'], '.', os.environ['HOME']):\n"
        "        try: Path(_place, _name).write_text('raise SystemExit(9)')\n"
        "        except OSError: pass\n"
    },
    "shifts": {"train.py": "\nplain = logits\n\n\ndef logits(model, tokens):\n    return plain(model, tokens) + 1e4\n"},
    "looks for labels": {"train.py": LOOK_FOR_LABELS},
    "peeks": {"train.py": PEEK},
    "is not a number": {"train.py": "\nplain = logits\n\n\ndef logits(m, t):\n    return plain(m, t) * math.nan\n"},
    "answers little": {"train.py": "\nplain = logits\n\n\ndef logits(m, t):\n    return plain(m, t)[:, :1]\n"},
}
TRUE = ("honest", "prints", "scores itself", "plants modules", "shifts", "looks for labels")
FAILURES = {
    "peeks": ("no_score", "looks ahead"),
    "is not a number": ("bad_score", "finite"),
    "answers little": ("no_score", ""),
}


@pytest.mark.timeout(150)
async def test_a_proposal_that_cheats_fails_or_gets_its_true_score(tmp_path: Path) -> None:
    folder = shutil.copytree(NANOLM, tmp_path / "nanolm", ignore=shutil.ignore_patterns("data", "out", "__pycache__"))
    text = (
        (folder / "arena.toml")
        .read_text(encoding="utf-8")
        .replace("budget_s = 4.0", "budget_s = 0.7")
        .replace("deadline_s = 60.0", "deadline_s = 12.0")
    )
    (folder / "arena.toml").write_text(text, encoding="utf-8")
    home, hub = tmp_path / "home", MemoryHub()
    bus, opened = await open_arena(hub, folder, home=home)
    code = CodeStore(settings.code_dir(home, "nanolm"), bus)
    base = await code.files(opened.base_commit)
    # given a proposal of each kind; what it adds to train.py comes before the end of the file
    for name, changes in CHEATS.items():
        start = b'if __name__ == "__main__":'
        files = {path: base[path].replace(start, more.encode() + b"\n\n" + start, 1) for path, more in changes.items()}
        files |= {path: more.encode() for path, more in changes.items() if path != "train.py"}
        at = dt.datetime.now(dt.UTC)
        made = code.commit({**base, **files}, parents=[opened.base_commit], message=name, author="eve", at=at)
        await code.push(made.commit, base=opened.base_commit)
        origin = Origin(how="human")
        proposal = ProposalPosted(tree=made.tree, commit=made.commit, title=name, origin=origin)
        run = RunRequested(
            run=name.replace(" ", "-"),
            lane="explore",
            proposal=made.tree,
            commit=made.commit,
            seed=1,
            budget_s=0.7,
            deadline_s=12,
        )
        await bus.post_all([Post.new("eve", proposal), Post.new("eve", run)])
    # when a worker runs them
    follower = Follower(bus)
    with anyio.fail_after(140):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follower.follow)

            async def work() -> None:
                await run_worker(bus, name="w", slots=2, device="cpu", home=home)

            tasks.start_soon(work)
            await follower.until(lambda board: len(board.runs) == len(CHEATS) and not board.unfinished)
            tasks.cancel_scope.cancel()
    ended = {name: follower.board.runs[name.replace(" ", "-")].finished for name in CHEATS}
    # then who only pretends has the score of what it is
    values = {}
    for name in TRUE:
        finish = ended[name]
        assert isinstance(finish, RunFinished)
        assert isinstance(finish.outcome, Scored), (name, finish.outcome)
        assert not finish.outcome.self_reported
        values[name] = finish.outcome.value
    assert all(2 < value < 8.5 for value in values.values()), values
    # then who cannot be scored honestly has none, and is told why
    for name, (reason, words) in FAILURES.items():
        finish = ended[name]
        assert isinstance(finish, RunFinished)
        assert isinstance(finish.outcome, Failed), (name, finish.outcome)
        assert (finish.outcome.reason, words in finish.outcome.message) == (reason, True), finish.outcome
