"""Measure bits per byte on text that no trial has seen; prints one JSON object.

The candidate's code runs in another process (`predict.py`) that is given batches of bytes and answers scores: a worker
holds it in a sandbox of its own, connected to descriptors 3 (to write) and 4 (to read); by hand it is a child. Here the
scores are checked (size, finite, and causal: changing later bytes must not move earlier ones) and turned into
probabilities, so that what the candidate prints or claims does not matter.
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

VAL_BATCHES, HELDOUT_BATCHES = 4, 2
WITHIN_S = 50.0
TOLERANCE = 1e-3
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HOME", "MESH_OUT", "MESH_DEVICE", "MESH_THREADS")


def main() -> None:
    """Score, or say in one sentence why not."""
    private = Path(os.environ.get("MESH_PRIVATE", "data/private"))
    with predictor() as model:
        val = windows(private / "val.bin", VAL_BATCHES)
        check_causal(model, val[0])
        metrics = {
            "val_bpb": bits(model, val),
            "heldout_bpb": bits(model, windows(private / "heldout.bin", HELDOUT_BATCHES)),
        }
    print(json.dumps(metrics))


Model = tuple[BinaryIO, BinaryIO]
"""Where batches are written to, and scores are read from."""


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


def windows(path: Path, count: int) -> np.ndarray:
    """Return `(count, BATCH, LENGTH)` bytes, evenly spaced over the file."""
    data = np.fromfile(path, dtype=np.uint8)
    starts = np.linspace(0, len(data) - LENGTH, count * BATCH).astype(int)
    return np.stack([data[s : s + LENGTH] for s in starts]).reshape(count, BATCH, LENGTH)


def ask(model: Model, batch: np.ndarray) -> np.ndarray:
    """Return the model's scores of a batch: `(BATCH, LENGTH, 256)` float64."""
    to_model, from_model = model
    try:
        to_model.write(batch.tobytes())
        to_model.flush()
    except BrokenPipeError:
        sys.exit("the model could not be loaded, or it ended before it answered")
    size = BATCH * LENGTH * 256 * 4
    answer = from_model.read(size)
    if len(answer) != size:
        sys.exit(f"the model answered {len(answer):,} bytes of scores to a batch, but {size:,} are needed")
    scores = np.frombuffer(answer, dtype=np.float32).reshape(BATCH, LENGTH, 256).astype(np.float64)
    if not np.isfinite(scores).all():
        print(json.dumps({"val_bpb": math.nan}))
        sys.exit(0)
    return scores


def bits(model: Model, batches: np.ndarray) -> float:
    """Return the mean bits per byte of every byte but a window's first, given those before it."""
    total = 0.0
    for batch in batches:
        scores = ask(model, batch)[:, :-1]
        top = scores.max(-1, keepdims=True)
        norm = np.log(np.exp(scores - top).sum(-1)) + top[..., 0]
        picked = np.take_along_axis(scores, batch[:, 1:, None].astype(np.int64), -1)[..., 0]
        total += float((norm - picked).sum()) / math.log(2)
    return total / (batches.shape[0] * BATCH * (LENGTH - 1))


def check_causal(model: Model, batch: np.ndarray) -> None:
    """Refuse a model whose scores at a position depend on what comes after it; cuts are drawn anew every time."""
    changed = batch.copy()
    cuts = np.random.default_rng().integers(1, LENGTH - 1, BATCH)
    for row, cut in enumerate(cuts):
        changed[row, cut:] = np.random.default_rng().integers(0, 256, LENGTH - cut)
    before, after = ask(model, batch), ask(model, changed)
    for row, cut in enumerate(cuts):
        moved = float(np.abs(before[row, :cut] - after[row, :cut]).max())
        if moved > TOLERANCE * max(1.0, float(np.abs(before[row, :cut]).max())):
            sys.exit(f"the model looks ahead: changing bytes from {cut} on moved earlier scores by {moved:.3g}")


if __name__ == "__main__":
    main()
