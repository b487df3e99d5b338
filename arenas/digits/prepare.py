"""Draw the digits once, by a secret random state that is kept nowhere: no other copy of them exists.

Trials get labelled drawings of some writers, and the test drawings of other writers without their labels.
"""

import os
import secrets
from pathlib import Path

import numpy as np
from draw import People, draw

TRAIN, TEST = 900, 1500
WRITERS = 30  # each, for training and test

rng = np.random.default_rng(secrets.randbits(128))
people = People(rng)
out = Path(os.environ.get("MESH_OUT", "data"))
for part in ("public", "private"):
    (out / part).mkdir(parents=True, exist_ok=True)
for name, count, place in (("train", TRAIN, "public"), ("test", TEST, "private")):
    images, labels = draw(count, WRITERS, people, rng)
    np.save(out / "public" / f"{name}_x.npy", images.astype(np.float32))
    np.save(out / place / f"{name}_y.npy", labels.astype(np.int64))
