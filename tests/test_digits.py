"""The scorer of arenas/digits, which may see the labels, is not led to them by what a trial leaves."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SCORE = Path(__file__).parents[1] / "arenas" / "digits" / "score.py"
LABELS = np.arange(100, dtype=np.int64) % 10


def score(folder: Path, leave: Callable[[Path, Path], object]) -> subprocess.CompletedProcess[str]:
    """Score what `leave(predictions, labels)` leaves."""
    for name in ("private", "out"):
        (folder / name).mkdir()
    labels, predictions = folder / "private" / "test_y.npy", folder / "out" / "predictions.npy"
    np.save(labels, LABELS)
    leave(predictions, labels)
    env = {"MESH_PRIVATE": str(labels.parent), "MESH_OUT": str(predictions.parent)}
    return subprocess.run([sys.executable, SCORE], env=env, capture_output=True, text=True, timeout=200, check=False)


def test_predictions_are_compared_with_the_labels(tmp_path: Path) -> None:
    done = score(tmp_path, lambda mine, _: np.save(mine, np.where(LABELS == 3, 4, LABELS)))
    assert json.loads(done.stdout) == {"accuracy": 0.9, "errors": 10}


@pytest.mark.parametrize(
    ("leave", "sentence"),
    [
        (lambda mine, labels: mine.symlink_to(labels), "Too many levels of symbolic links"),
        (lambda mine, labels: mine.hardlink_to(labels), "it is not a regular file with one name"),
        (lambda mine, _: os.mkfifo(mine), "it is not a regular file with one name"),
        (lambda mine, _: mine.mkdir(), "Is a directory"),
        (lambda mine, _: None, "No such file"),
        (lambda mine, _: mine.write_bytes(b"x" * 100), "cannot be read"),
        (lambda mine, _: np.save(mine, np.zeros(10**6, dtype=np.int64)), "cannot be read"),
        (lambda mine, _: np.save(mine, LABELS.astype(float)), "must be int64 (100,)"),
    ],
)
def test_what_is_no_file_of_predictions_has_no_score(
    tmp_path: Path, leave: Callable[[Path, Path], object], sentence: str
) -> None:
    done = score(tmp_path, leave)
    assert (done.returncode, done.stdout) == (1, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
