"""Scores of arenas/nanolm are honest: whatever a proposal does, it gets its true score or none at all."""

import datetime as dt
import tempfile
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import msgspec
import numpy as np
import pytest

from gpu_worker.worker import run_worker
from mesh import arena, frozen_data
from mesh.code import CodeStore
from mesh.events import ArenaOpened, Failed, RunFinished, RunRequested, Scored
from mesh.memory import MemoryBus, MemoryHub
from mesh.wire import Post

pytestmark = pytest.mark.timeout(240)

HOME = Path(__file__).parents[1] / "arenas" / "nanolm"
TRAIN = (HOME / "train.py").read_text()
MAIN = 'if __name__ == "__main__":\n    main()\n'
LOGITS = "    return model(tokens[:, -model.context :])[:, -1]\n"
BUDGET = '    budget_s = float(os.environ.get("MESH_BUDGET_S", "4"))\n'
LOAD = "def load(folder: str) -> GPT:\n"
IN_A_CHILD = """if __name__ == "__main__":
    if os.fork():
        time.sleep(40)
    os.setsid()
    os.environ["MESH_BUDGET_S"] = "40"
    main()
"""
LIE = "print('{\"val_bpb\": 0.01}', flush=True)\n"


def after(code: str) -> dict[str, str]:
    """The artifact with a deed after its training."""
    return {"train.py": TRAIN.replace(MAIN, MAIN + "".join(f"    {line}\n" for line in code.splitlines()))}


def answering(code: str) -> dict[str, str]:
    """The artifact with other answers to the scorer."""
    assert LOGITS in TRAIN
    return {"train.py": TRAIN.replace(LOGITS, "".join(f"    {line}\n" for line in code.splitlines()))}


LOOK_FOR_LABELS = """import glob
for place in ("MESH_PRIVATE", "MESH_DATA", "MESH_OUT", "HOME"):
    folder = Path(os.environ.get(place, "/nowhere")).parent
    for path in [*folder.rglob("val.bin"), *folder.parent.rglob("val.bin"), *Path("/tmp").rglob("val.bin")]:
        path.read_bytes()
        os._exit(99)
"""
OUT = 'out, tmp = Path(os.environ["MESH_OUT"]), Path(os.environ["TMPDIR"])\nweights = out / "weights.npz"\n'
PROPOSALS: dict[str, dict[str, str]] = {
    "honest": {},
    "prints": {"train.py": TRAIN.replace(MAIN, MAIN + "    " + LIE) + LIE},
    "edits the scorer": {
        "score.py": LIE,
        "predict.py": LIE,
        "prepare.py": LIE,
        **after(
            "for folder in ('.', '../score', '../score-tmp'):\n    for name in ('score.py', 'predict.py'):\n"
            "        try:\n"
            "            os.makedirs(folder, exist_ok=True)\n            Path(folder, name).unlink(missing_ok=True)\n"
            f"            Path(folder, name).write_text({LIE!r})\n        except OSError:\n            pass"
        ),
    },
    "swaps the data": after(
        'for path in Path(os.environ["MESH_DATA"]).parent.rglob("*"):\n    try:\n        path.chmod(0o666)\n'
        "        path.write_bytes(bytes(1000))\n    except OSError:\n        pass"
    ),
    "looks for labels wherever it runs": {"train.py": TRAIN.replace(MAIN, LOOK_FOR_LABELS + MAIN)},
    "steals the data": after(
        'print((Path(os.environ["MESH_DATA"]).parent / "private" / "val.bin").read_bytes()[:9], "sto" + "len")'
    ),
    "plants modules": after(
        OUT + "for folder in (out, tmp, Path.cwd()):\n"
        "    for name in ('sitecustomize', 'usercustomize', 'json', 'numpy', 'predict', 'score'):\n"
        f"        (folder / f'{{name}}.py').unlink(missing_ok=True)\n"
        f"        (folder / f'{{name}}.py').write_text({LIE!r} + 'raise SystemExit(0)')"
    ),
    "peeks": answering("return 1e3 * F.one_hot(tokens.roll(-1, 1)[:, -1], 256).float()"),
    "looks ahead in training": {"train.py": TRAIN.replace("is_causal=True", "is_causal=False")},
    "answers NaN": answering("return model(tokens[:, -model.context :])[:, -1] * float('nan')"),
    "is not normalised": answering("return model(tokens[:, -model.context :])[:, -1] + 1000"),
    "answers too much": answering("return model(tokens[:, -model.context :])"),
    "raises": answering("raise ValueError('no answer')"),
    "leaves a pipe": after(OUT + "weights.unlink()\nos.mkfifo(weights)"),
    "leaves a link": after(
        OUT + 'weights.unlink()\nweights.symlink_to(Path(os.environ["MESH_DATA"]).parent / "private" / "val.bin")'
    ),
    "overstays": {"train.py": TRAIN.replace(BUDGET, BUDGET.replace('"MESH_BUDGET_S", "4"', '"PATIENCE_S", "40"'))},
    "overstays in a child": {"train.py": TRAIN.replace(MAIN, IN_A_CHILD)},
    "trains on where it answers": {"train.py": TRAIN.replace(LOAD, LOAD + "    while True: torch.ones(9).sum()\n")},
    "leaves a hole of 2 GB": after(OUT + "os.truncate(weights, 0)\nos.truncate(weights, 2 << 30)"),
}


@pytest.fixture(scope="module")
def finished() -> Iterator[dict[str, RunFinished]]:
    """How all proposals ended, run by one worker side by side."""
    with tempfile.TemporaryDirectory() as name:
        yield anyio.run(run_all, Path(name))


async def run_all(folder: Path) -> dict[str, RunFinished]:
    bus = await MemoryHub().arena("nanolm", create=True)
    frozen = await freeze(folder / "data", bus)
    spec = arena.load_arena(HOME)
    trial = msgspec.structs.replace(spec.trial, budget_s=0.5, deadline_s=60)
    score = msgspec.structs.replace(spec.score, predict_budget_s=4.0)
    spec = msgspec.structs.replace(spec, trial=trial, score=score)
    code, now = CodeStore(folder / "author.git", bus), dt.datetime.now(dt.UTC)
    files = arena.read_files(HOME)
    base = code.commit(files, message="base", author="ann", at=now)
    await code.push(base.commit)
    evaluator = arena.evaluator_hash(spec, files)
    opened = ArenaOpened(
        version=1, spec=spec, base_commit=base.commit, base_tree=base.tree, evaluator=evaluator, data=frozen
    )
    await bus.post(Post.new("ann", opened))
    names: dict[str, str] = {}
    for number, (name, changed) in enumerate(PROPOSALS.items()):
        tree = files | {path: text.encode() for path, text in changed.items()}
        made = code.commit(tree, parents=[base.commit], message=name, author="ann", at=now)
        await code.push(made.commit, base=base.commit)
        names[f"r{number}"] = name
        asked = RunRequested(
            run=f"r{number}",
            lane="explore",
            proposal=made.tree,
            commit=made.commit,
            seed=1,
            budget_s=0.5,
            deadline_s=60,
        )
        await bus.post(Post.new("ann", asked))
    ended: dict[str, RunFinished] = {}
    with anyio.fail_after(200):
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                await run_worker(bus, name="w", slots=2, device="cpu", home=folder / "home")

            tasks.start_soon(work)
            async with aclosing(bus.read(follow=True)) as batches:
                async for batch in batches:
                    for entry in batch:
                        if entry.post and isinstance(entry.post.event, RunFinished):
                            ended[names[entry.post.event.run]] = entry.post.event
                    if len(ended) == len(PROPOSALS):
                        break
            tasks.cancel_scope.cancel()
    return ended


async def freeze(folder: Path, bus: MemoryBus) -> str:
    """Freeze a little text, as `prepare.py` would."""
    words = np.random.default_rng(0).choice(TRAIN.split(" "), 120_000)
    text = " ".join(words).encode()
    parts = {"public/train.bin": text[:200_000], "private/val.bin": text[200_000:300_000]}
    for name, part in (parts | {"private/heldout.bin": text[300_000:350_000]}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(part)
    return await frozen_data.freeze(folder, bus)


def true_score(finish: RunFinished) -> float:
    """The score of a run that has one, which half a second of training can come to."""
    assert isinstance(finish.outcome, Scored), finish.outcome
    assert not finish.outcome.self_reported
    assert 1.5 < finish.outcome.value < 9
    return finish.outcome.value


PRETENDERS = ("prints", "edits the scorer", "swaps the data", "plants modules", "looks for labels wherever it runs")


@pytest.mark.parametrize("name", PRETENDERS)
def test_what_a_proposal_says_or_plants_does_not_move_its_score(finished: dict[str, RunFinished], name: str) -> None:
    assert true_score(finished[name]) == pytest.approx(true_score(finished["honest"]), abs=1.0)
    assert finished[name].evaluator == finished["honest"].evaluator
    assert finished[name].data == finished["honest"].data


def test_scores_need_not_be_normalised(finished: dict[str, RunFinished]) -> None:
    assert true_score(finished["is not normalised"]) == pytest.approx(true_score(finished["honest"]), abs=1.0)


def test_looking_ahead_in_training_is_of_no_use(finished: dict[str, RunFinished]) -> None:
    assert true_score(finished["looks ahead in training"]) > true_score(finished["honest"]) - 1.0


def test_private_data_is_out_of_reach_of_a_trial(finished: dict[str, RunFinished]) -> None:
    outcome = finished["steals the data"].outcome
    assert isinstance(outcome, Failed)
    assert outcome.reason == "crash"
    assert "val.bin" in outcome.message
    assert "stolen" not in finished["steals the data"].log_tail


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("peeks", "bad_score", "outside [0, 16]"),
        ("answers NaN", "bad_score", "finite"),
        ("answers too much", "no_score", ""),
        ("raises", "no_score", ""),
        ("leaves a pipe", "no_score", ""),
        ("leaves a link", "no_score", ""),
        ("leaves a hole of 2 GB", "no_score", ""),
    ],
)
def test_what_is_no_model_has_no_score(finished: dict[str, RunFinished], name: str, reason: str, words: str) -> None:
    outcome = finished[name].outcome
    assert isinstance(outcome, Failed), outcome
    assert (outcome.reason, words in outcome.message) == (reason, True), outcome


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("overstays", "its budget of 0.5 s allows 2.05 s"),
        ("overstays in a child", "its budget of 0.5 s allows 2.05 s"),
        ("trains on where it answers", "the code that answers the score program used"),
    ],
)
def test_more_time_than_others_have_gives_no_score(finished: dict[str, RunFinished], name: str, words: str) -> None:
    outcome = finished[name].outcome
    assert isinstance(outcome, Failed), outcome
    assert (outcome.reason, words in outcome.message) == ("over_budget", True), outcome


def test_an_honest_trial_has_a_margin_within_its_budget(finished: dict[str, RunFinished]) -> None:
    honest = finished["honest"]
    assert (honest.budget_counts, 0.5 < honest.budget_used_s < 1.5, honest.predict_s < 3) == ("cpu", True, True)
    assert 0.9 < honest.curve[-1].fraction <= 1


@pytest.mark.parametrize("length", [257 * 64, 257 * 64 * 3 + 100, 257 * 64 * 40])
def test_a_byte_that_is_to_be_predicted_is_in_nothing_that_is_sent(
    length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from score import windows  # type: ignore[import-not-found]

    inputs, targets = windows(np.arange(length), 1024)
    assert inputs.shape == (len(targets), 256)
    assert (targets == inputs[:, -1] + 1).all()
    assert not np.isin(targets, inputs).any()
    assert len(targets) == min(1024, length // 257 // 64 * 64)


@pytest.mark.parametrize("length", [0, 257 * 64 - 1])
def test_a_text_that_is_too_short_is_refused(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from score import windows

    with pytest.raises(SystemExit, match=r"but a batch needs 16,448$"):
        windows(np.arange(length), 1024)
