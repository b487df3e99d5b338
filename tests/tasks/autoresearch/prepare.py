"""Data into ~/.cache/autoresearch, and how a model is judged; not to be changed."""

import os

CACHE_DIR = os.path.join(os.path.expanduser("~"), ".cache", "autoresearch")


def evaluate_bpb(rate: float) -> float:
    """Return bits per byte."""
    with open(os.path.join(CACHE_DIR, "data")) as file:
        return float(file.read()) + abs(rate - 0.02)


if __name__ == "__main__":
    os.makedirs(CACHE_DIR, exist_ok=True)
    with open(os.path.join(CACHE_DIR, "data"), "w") as file:
        file.write("0.9")
