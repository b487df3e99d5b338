"""Say that every image is a 1."""

import os
from pathlib import Path

import numpy as np

out = Path(os.environ["MESH_OUT"]) / "predictions.npy"
labels = np.full(len(np.load(Path(os.environ["MESH_DATA"]) / "test_x.npy")), 1, np.int64)
np.save(out, labels)
