"""Scores of arenas/nanolm are honest: whatever a proposal does, it gets its true score or none at all."""

import json
import lzma
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import numpy as np
import pytest

from mesh.arena import load_arena
from mesh.events import Failed, RunFinished, Scored
from mesh_cli.setup.attacks import Attack, changed_files, holds, read_attacks
from mesh_cli.setup.check_runs import Artifact, run_artifacts

pytestmark = pytest.mark.timeout(600)

HOME = Path(__file__).parents[1] / "arenas" / "nanolm"
TRAIN = (HOME / "train.py").read_text()
ATTACKS = read_attacks(HOME)
MAIN = 'if __name__ == "__main__":\n    main()\n'
LOGITS = "    return model(tokens[:, -model.context :])[:, -1]\n"


def after(code: str) -> dict[str, str]:
    """The artifact with a deed after its training."""
    return {"train.py": TRAIN.replace(MAIN, MAIN + "".join(f"    {line}\n" for line in code.splitlines()))}


def answering(code: str) -> dict[str, str]:
    """The artifact with other answers to the scorer."""
    assert LOGITS in TRAIN
    return {"train.py": TRAIN.replace(LOGITS, "".join(f"    {line}\n" for line in code.splitlines()))}


OUT = 'out, tmp = Path(os.environ["MESH_OUT"]), Path(os.environ["TMPDIR"])\nweights = out / "weights.npz"\n'
PROPOSALS: dict[str, dict[str, str]] = {
    "honest": {},
    "steals the data": after(
        'print((Path(os.environ["MESH_DATA"]).parent / "private" / "val.bin").read_bytes()[:9], "sto" + "len")'
    ),
    "looks ahead in training": {"train.py": TRAIN.replace("is_causal=True", "is_causal=False")},
    "is not normalised": answering("return model(tokens[:, -model.context :])[:, -1] + 1000"),
    "raises": answering("raise ValueError('no answer')"),
    "leaves a pipe": after(OUT + "weights.unlink()\nos.mkfifo(weights)"),
    "leaves a link": after(
        OUT + 'weights.unlink()\nweights.symlink_to(Path(os.environ["MESH_DATA"]).parent / "private" / "val.bin")'
    ),
    "leaves a hole of 2 GB": after(OUT + "os.truncate(weights, 0)\nos.truncate(weights, 2 << 30)"),
}


@pytest.fixture(scope="module")
def finished() -> Iterator[dict[str, RunFinished]]:
    """How all proposals and attacks ended, run by one worker side by side, with half a second each and little text."""
    with tempfile.TemporaryDirectory() as name:
        arena = small_copy(Path(name) / "nanolm")
        artifacts = [Artifact(name, {p: t.encode() for p, t in changed.items()}) for name, changed in PROPOSALS.items()]
        spec = load_arena(HOME)
        artifacts += [Artifact(attack.name, changed_files(attack, HOME, spec)) for attack in ATTACKS]

        async def run() -> dict[str, list[RunFinished]]:
            with anyio.fail_after(500):
                return await run_artifacts(arena, artifacts, device="cpu", slots=2)

        yield {name: events[0] for name, events in anyio.run(run).items()}


def small_copy(folder: Path) -> Path:
    """Copy the arena with less text, budget and time to answer."""
    shutil.copytree(HOME, folder, ignore=shutil.ignore_patterns("data", "out", "__pycache__", "text.jsonl.xz"))
    toml = (HOME / "arena.toml").read_text()
    for old, new in (("\nbudget_s = 4.0", "\nbudget_s = 0.5"), ("predict_budget_s = 12.0", "predict_budget_s = 6.0")):
        assert old in toml
        toml = toml.replace(old, new)
    (folder / "arena.toml").write_text(toml)
    short = [f"{json.dumps(page | {'text': page['text'][: LENGTH[page['part']]]})}\n" for page in text_of_arena()]
    (folder / "text.jsonl.xz").write_bytes(lzma.compress("".join(short).encode(), preset=0))
    return folder


LENGTH = {"train": 1000, "val": 4 * 257, "heldout": 257}


def text_of_arena() -> list[dict[str, str]]:
    """The pages of the arena: part, page, text."""
    return [json.loads(line) for line in lzma.decompress((HOME / "text.jsonl.xz").read_bytes()).splitlines()]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_what_it_should(finished: dict[str, RunFinished], attack: Attack) -> None:
    outcome = finished[attack.name].outcome
    assert holds(attack.expect, outcome, load_arena(HOME).objective, []), outcome


def true_score(finish: RunFinished) -> float:
    """The score of a run that has one, which half a second of training can come to."""
    assert isinstance(finish.outcome, Scored), finish.outcome
    assert not finish.outcome.self_reported
    assert 1.5 < finish.outcome.value < 9
    return finish.outcome.value


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


@pytest.mark.parametrize("name", ["raises", "leaves a pipe", "leaves a link", "leaves a hole of 2 GB"])
def test_what_is_no_model_has_no_score(finished: dict[str, RunFinished], name: str) -> None:
    outcome = finished[name].outcome
    assert isinstance(outcome, Failed), outcome
    assert outcome.reason == "no_score", outcome


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("overstays", "its budget of 0.5 s allows 2.05 s"),
        ("overstays in a child", "its budget of 0.5 s allows 2.05 s"),
        ("trains where it answers", "the code that answers the score program used"),
        ("huge constant", "logits() returned 1e+30, but a score may be between -1,000,000 and 1,000,000"),
    ],
)
def test_a_refusal_says_what_was_too_much(finished: dict[str, RunFinished], name: str, words: str) -> None:
    outcome = finished[name].outcome
    assert isinstance(outcome, Failed), outcome
    assert words in outcome.message


def test_an_honest_trial_has_a_margin_within_its_budget(finished: dict[str, RunFinished]) -> None:
    honest = finished["honest"]
    assert (honest.budget_counts, 0.5 < honest.budget_used_s < 1.5, honest.predict_s < 3) == ("cpu", True, True)
    assert 0.9 < honest.curve[-1].fraction <= 1


@pytest.mark.parametrize("length", [257 * 64, 257 * 64 * 3 + 100, 257 * 64 * 40])
def test_nothing_is_sent_before_it_is_predicted(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from score import windows  # type: ignore[import-not-found]

    page = length // 64
    sent = np.zeros(length, bool)
    batches = list(windows(np.arange(length)))
    for inputs, targets in batches:
        assert inputs.shape == (64, 256)
        assert (targets == inputs[:, -1] + 1).all()
        assert (targets // page == np.arange(64)).all()  # a row is a page
        sent[inputs] = True
        for target in targets:
            assert not sent[target : (target // page + 1) * page].any()
    assert len(batches) == page // 257


@pytest.mark.parametrize("length", [0, 257 * 64 - 1])
def test_a_text_that_is_too_short_is_refused(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from score import windows

    with pytest.raises(SystemExit, match=r"but a batch needs 16,448$"):
        list(windows(np.arange(length)))


@pytest.mark.parametrize("score", [0.0, 1.0, -7.5, 999_999.0, 1e30])
def test_equal_scores_cost_eight_bits_exactly(score: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from score import bits

    assert (bits(np.full((64, 256), score), np.arange(64)) == 8.0).all()


def test_bits_are_those_of_the_softmax_beside_any_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from score import bits

    scores, targets = np.random.default_rng(0).normal(0, 3, (64, 256)), np.arange(64)
    p = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    for constant in (0.0, 1e5, -1e5):
        assert bits(scores + constant, targets) == pytest.approx(-np.log2(p[targets, targets]), abs=1e-6)
    sure = np.zeros((1, 256))
    sure[0, 3] = 1e6
    assert bits(sure, np.array([3])) == 0.0
    assert bits(sure, np.array([4])) == pytest.approx(1e6 / math.log(2))


def test_held_out_pages_share_no_run_of_32_letters_with_the_public_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME))
    from make_text import PAGES, PART_BYTES, among, shingles  # type: ignore[import-not-found]

    pages = text_of_arena()
    lines = [line for page in pages if page["part"] == "train" for line in page["text"].splitlines()]
    taught = np.sort(np.concatenate([shingles(line) for line in lines]))
    names = [page["page"] for page in pages]
    assert len(set(names)) == len(names)
    for part, length in PART_BYTES.items():
        mine = [page for page in pages if page["part"] == part]
        assert len(mine) == PAGES
        for page in mine:
            assert length - 3 <= len(page["text"].encode()) <= length
            for line in page["text"].splitlines():
                assert not among(shingles(line), taught).any(), (page["page"], line)
