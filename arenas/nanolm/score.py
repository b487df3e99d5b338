"""Measure bits per byte on text that no trial has seen; prints one JSON object.

The candidate's code runs in another process (`predict.py`), which receives batches of bytes and returns scores. A
worker runs it in another sandbox, connected to descriptors 3 (write) and 4 (read); by hand it is a child process. It
receives only the bytes before those to be predicted, so it cannot look ahead. Its scores are checked and turned into
probabilities here, so nothing that it prints or claims matters.
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

VAL, HELDOUT = 4096, 1024  # bytes to predict, at most; a short text has room for fewer
WITHIN_S = 50.0
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "MESH_OUT", "MESH_DEVICE", "MESH_THREADS")


def main() -> None:
    """Print the scores, or exit with one sentence why there are none."""
    private = Path(os.environ.get("MESH_PRIVATE", "data/private"))
    with predictor() as model:
        metrics = {
            "val_bpb": measured(model, private / "val.bin", VAL),
            "heldout_bpb": measured(model, private / "heldout.bin", HELDOUT),
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


def measured(model: Model, path: Path, most: int) -> float:
    """Return the mean bits per predicted byte, over evenly spaced windows of a text."""
    inputs, targets = windows(np.fromfile(path, dtype=np.uint8), most)
    total = 0.0
    for start in range(0, len(targets), BATCH):
        scores = ask(model, inputs[start : start + BATCH])
        top = scores.max(-1)
        norm = np.log(np.exp(scores - top[:, None]).sum(-1)) + top
        total += float((norm - scores[np.arange(BATCH), targets[start : start + BATCH]]).sum()) / math.log(2)
    return total / len(targets)


def windows(data: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `(n, LENGTH)` bytes and the `(n,)` bytes after them, n whole batches.

    No window overlaps the next, so no byte to predict is in any window.
    """
    count = min(most, len(data) // (LENGTH + 1)) // BATCH * BATCH
    if count == 0:
        sys.exit(f"the text has {len(data):,} bytes, but a batch needs {BATCH * (LENGTH + 1):,}")
    starts = np.arange(count) * (len(data) // count)
    rows = np.stack([data[start : start + LENGTH + 1] for start in starts])
    return rows[:, :-1], rows[:, -1].astype(np.int64)


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
    return scores


if __name__ == "__main__":
    main()
