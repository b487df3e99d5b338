"""A two-layer perceptron in numpy on 8 x 8 digits; writes its predictions of the test images, `(n,)` int64.

By hand: `python prepare.py && python train.py && python score.py`.
"""

import itertools
import json
import os
import time
from pathlib import Path

import numpy as np

HIDDEN = 16  # mesh: 4..256 log
LEARNING_RATE = 0.1  # mesh: 1e-3..3.0 log
MOMENTUM = 0.0  # mesh: 0.0..0.98
BATCH_SIZE = 256  # mesh: 8..512 log
WEIGHT_DECAY = 0.0  # mesh: 0.0..0.01
INIT_SCALE = 1.0  # mesh: 0.1..3.0 log
NOISE = 0.0  # mesh: 0.0..0.5
ACTIVATION = "tanh"  # mesh: choices tanh relu
EPOCHS = 40  # mesh: 5..80 log


def main() -> None:
    """Train within the budget and write the predictions."""
    data = Path(os.environ.get("MESH_DATA", "data/public"))
    out = Path(os.environ.get("MESH_OUT", "out"))
    budget_s = float(os.environ.get("MESH_BUDGET_S", "1"))
    rng = np.random.default_rng(int(os.environ.get("MESH_SEED", "1")))
    began = time.process_time()
    x, y = np.load(data / "train_x.npy"), np.load(data / "train_y.npy")
    sizes = (x.shape[1], HIDDEN, 10)
    weights = [rng.normal(0, INIT_SCALE / np.sqrt(a), (a, b)) for a, b in itertools.pairwise(sizes)]
    weights += [np.zeros(HIDDEN), np.zeros(10)]
    speed = [np.zeros_like(w) for w in weights]
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        losses = []
        for start in range(0, len(x), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            loss, slopes = step(weights, x[rows] + rng.normal(0, NOISE, (len(rows), x.shape[1])), y[rows])
            losses.append(loss)
            for w, v, slope in zip(weights, speed, slopes, strict=True):
                v *= MOMENTUM
                v -= LEARNING_RATE * (slope + WEIGHT_DECAY * w)
                w += v
        if epoch % 4 == 0 and "MESH_REPORT" in os.environ:
            with open(os.environ["MESH_REPORT"], "a") as report:
                report.write(json.dumps({"step": epoch, "value": float(np.mean(losses))}) + "\n")
        if time.process_time() - began > budget_s:
            break
    out.mkdir(parents=True, exist_ok=True)
    _, scores = forward(weights, np.load(data / "test_x.npy"))
    np.save(out / "predictions.npy", scores.argmax(1).astype(np.int64))


def forward(w: list[np.ndarray], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the hidden layer `(n, HIDDEN)` and the scores `(n, 10)` of images `(n, 64)`."""
    before = x @ w[0] + w[2]
    hidden = np.tanh(before) if ACTIVATION == "tanh" else np.maximum(before, 0)
    return hidden, hidden @ w[1] + w[3]


def step(w: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """Return the mean cross-entropy of a batch, in nats, and the slopes of the weights."""
    hidden, scores = forward(w, x)
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    rows = np.arange(len(y))
    loss = float(-np.log(p[rows, y] + 1e-12).mean())
    p[rows, y] -= 1
    p /= len(y)
    back = (p @ w[1].T) * ((1 - hidden**2) if ACTIVATION == "tanh" else (hidden > 0))
    return loss, [x.T @ back, hidden.T @ p, back.sum(0), p.sum(0)]


if __name__ == "__main__":
    main()
