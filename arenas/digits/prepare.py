"""Split scikit-learn's bundled digits once: public training data and test images, private test labels."""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

TRAIN = 900

out = Path(os.environ.get("MESH_OUT", "data"))
digits = load_digits()
order = np.random.default_rng(0).permutation(len(digits.target))
images = (digits.data[order] / 16.0).astype(np.float32)
labels = digits.target[order].astype(np.int64)
for part in ("public", "private"):
    (out / part).mkdir(parents=True, exist_ok=True)
np.save(out / "public" / "train_x.npy", images[:TRAIN])
np.save(out / "public" / "train_y.npy", labels[:TRAIN])
np.save(out / "public" / "test_x.npy", images[TRAIN:])
np.save(out / "private" / "test_y.npy", labels[TRAIN:])
