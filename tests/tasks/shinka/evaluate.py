"""The sum of the widths, if they fit."""

import argparse
import json
import pathlib
import runpy

parser = argparse.ArgumentParser()
parser.add_argument("--program_path", default="initial.py")
parser.add_argument("--results_dir", default="results")
args = parser.parse_args()
widths = runpy.run_path(args.program_path)["pack"](seed=1)
error = None if sum(widths) <= 1 else f"the widths come to {sum(widths):.2f}, more than 1"
out = pathlib.Path(args.results_dir)
out.mkdir(exist_ok=True, parents=True)
(out / "correct.json").write_text(json.dumps({"correct": error is None, "error": error}))
metrics = {"combined_score": sum(widths), "public": {"widths": len(widths)}, "private": {"largest": max(widths)}}
(out / "metrics.json").write_text(json.dumps(metrics))
print("done")
