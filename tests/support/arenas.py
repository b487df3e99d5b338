"""A tiny arena: its files, and how tests write them."""

from pathlib import Path

ARENA = """
[arena]
name = "tiny"
summary = "half a second of sleep, then a parabola"
[objective]
metric = "loss"
direction = "minimize"
[artifact]
editable = ["train.py"]
[trial]
command = ["python", "train.py"]
budget_s = 1.0
deadline_s = 30.0
[score]
how = "command"
command = ["python", "score.py"]
"""
TRAIN = """
import json, os, pathlib, time

HEIGHT = 1.0  # mesh: 0.0..2.0
WIDTH = 10  # mesh: 1..1000

time.sleep(0.4)
loss = (HEIGHT - 0.5) ** 2 + WIDTH / 1000
(pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").write_text(json.dumps({"loss": loss}))
"""
SCORE = """
import os, pathlib
print((pathlib.Path(os.environ["MESH_OUT"]) / "loss.json").read_text())
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files by their paths below a folder, and return the folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def write_arena(folder: Path, *, train: str = TRAIN, score: str = SCORE, arena: str = ARENA) -> Path:
    """Write an arena's files and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("arena.toml", arena), ("train.py", train), ("score.py", score)):
        (folder / name).write_text(text, encoding="utf-8")
    return folder
