"""Measure bits per byte on text that no trial has seen; prints one JSON object.

The candidate's code runs in another process (`predict.py`), which receives batches of bytes and returns scores. A
worker runs it in another sandbox, connected to descriptors 3 (write) and 4 (read); by hand it is a child process. A
batch has one window of each page, and the windows of a page are sent in their order: no byte that is to be predicted,
and nothing after it, is sent before it is predicted. The scores are checked and turned into probabilities here, so
nothing that the candidate's code prints or claims matters.
"""

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from predict import BATCH, LENGTH

WITHIN_S = 50.0
HUGE = 1e6  # a score beyond this is refused: natural logarithms of probabilities have at most a few digits
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "MESH_OUT", "MESH_DEVICE", "MESH_THREADS")


def main() -> None:
    """Print the scores, or exit with one sentence why there are none."""
    private = Path(os.environ.get("MESH_PRIVATE", "data/private"))
    with predictor() as model:
        metrics = {
            "val_bpb": measured(model, private / "val.bin"),
            "heldout_bpb": measured(model, private / "heldout.bin"),
        }
    print(json.dumps(metrics))


Model = tuple[BinaryIO, BinaryIO]
"""The stream that takes batches, and the stream that returns scores."""


@contextmanager
def predictor() -> Iterator[Model]:
    """The process that runs the candidate's code: the worker's, or a child of this one."""
    if "MESH_PREDICTOR" in os.environ:
        yield os.fdopen(3, "wb"), os.fdopen(4, "rb")
        return
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "predict.py"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert child.stdin is not None
    assert child.stdout is not None
    alarm = threading.Timer(WITHIN_S, child.kill)
    alarm.start()
    try:
        yield child.stdin, child.stdout
    finally:
        alarm.cancel()
        child.kill()
        child.wait()


def measured(model: Model, path: Path) -> float:
    """Return the mean bits per predicted byte of a text; equal scores for all bytes cost exactly 8."""
    total, count = 0.0, 0
    for batch, targets in windows(np.fromfile(path, dtype=np.uint8)):
        total += float(bits(ask(model, batch), targets).sum())
        count += len(targets)
    return total / count


def bits(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return what the bytes `(n,)` cost by the softmax of scores `(n, 256)`: `(n,)` bits.

    The top score is subtracted first, and not added again: beside a huge number, differences would be lost.
    """
    below = scores - scores.max(-1, keepdims=True)
    return np.log2(np.exp(below).sum(-1)) - below[np.arange(len(targets)), targets] / math.log(2)


def windows(data: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `(BATCH, LENGTH)` bytes and the `(BATCH,)` bytes after them, one window of each page after the other.

    A text is BATCH pages of equal length. The windows of a page do not overlap.
    """
    step = LENGTH + 1
    count = len(data) // (BATCH * step)
    if count == 0:
        sys.exit(f"the text has {len(data):,} bytes, but a batch needs {BATCH * step:,}")
    pages = data[: len(data) // BATCH * BATCH].reshape(BATCH, -1)
    for start in range(0, count * step, step):
        yield pages[:, start : start + LENGTH], pages[:, start + LENGTH].astype(np.int64)


def ask(model: Model, batch: np.ndarray) -> np.ndarray:
    """Return the model's scores of a batch: `(BATCH, 256)` float64."""
    to_model, from_model = model
    try:
        to_model.write(batch.tobytes())
        to_model.flush()
    except BrokenPipeError:
        sys.exit("the model could not be loaded, or it ended before it answered")
    size = BATCH * 256 * 4
    answer = from_model.read(size)
    if len(answer) != size:
        sys.exit(f"the model answered {len(answer):,} bytes of scores to a batch, but {size:,} are needed")
    scores = np.frombuffer(answer, dtype=np.float32).reshape(BATCH, 256).astype(np.float64)
    if not np.isfinite(scores).all():
        print(json.dumps({"val_bpb": math.nan}))
        sys.exit(0)
    if (largest := np.abs(scores).max()) > HUGE:
        sys.exit(f"logits() returned {largest:.3g}, but a score may be between -{HUGE:,.0f} and {HUGE:,.0f}")
    return scores


if __name__ == "__main__":
    main()
