"""Workers on a Ray cluster, one per GPU, until they have had no run for a while.

    MESH_TOKEN=$(cat token) python deploy/ray_fleet.py --workers 8

Run it where `ray.init()` finds the cluster. Ray gives each worker its GPU; a worker whose node dies starts elsewhere.
"""

import argparse
import os
import subprocess
import sys


def join(token: str, words: list[str]) -> int:
    """Be a worker, in a process of its own; return its exit code."""
    env = {**os.environ, "MESH_TOKEN": token}
    command = ["sh", "-ec", 'exec mesh join "$MESH_TOKEN" --yes --spot "$@"', "sh", *words]
    with subprocess.Popen(command, env=env) as worker:
        try:
            return worker.wait()
        finally:
            worker.terminate()  # where Ray ends this task, the worker hands its run back


def main() -> int:
    """Start the workers, and wait for them."""
    options = argparse.ArgumentParser(description="Run workers on a Ray cluster, one per GPU.")
    options.add_argument("--workers", type=int, default=1, help="How many (default: 1).")
    options.add_argument("--gpus", type=float, default=1.0, help="GPUs of each; 0 for workers on cores (default: 1).")
    options.add_argument("--idle-stop", default="10m", help="End a worker after so long without a run (default: 10m).")
    options.add_argument("--package", default="mesh-swarm[worker]", help="What to install; '' where it is there.")
    args = options.parse_args()
    if not (token := os.environ.get("MESH_TOKEN", "")):
        options.error("MESH_TOKEN is empty; set it to an invitation that `mesh hub invite worker --uses N` printed")

    import ray

    ray.init(runtime_env={"pip": [args.package]} if args.package else None)
    words = ["--idle-stop", args.idle_stop, *([] if args.gpus else ["--device", "cpu"])]
    worker = ray.remote(num_gpus=args.gpus, num_cpus=1, max_retries=-1)(join)
    codes = ray.get([worker.remote(token, words) for _ in range(args.workers)])
    sys.stderr.write(f"{codes.count(0)} of {len(codes)} workers ended in good order\n")
    return max(codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
