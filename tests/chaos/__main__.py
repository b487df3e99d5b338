"""Run chaos for some minutes: `python -m tests.chaos --minutes 30 --seed 7`; the exit code is 1 if a round failed."""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import anyio

from tests.chaos.rounds import Report, run_round
from tests.support.small_disk import mounted

DISK_MB = 200


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="start rounds for this many minutes (default: 10)")
    parser.add_argument("--seed", type=int, default=None, help="seed of all chance (default: the time)")
    parser.add_argument("--seconds", type=float, default=25.0, help="seconds of trouble in a round (default: 25)")
    args = parser.parse_args()
    seed = int(time.time()) if args.seed is None else args.seed
    top = Path(tempfile.mkdtemp(prefix="chaos."))
    print(f"seed {seed}, rounds in {top}", flush=True)
    print(
        f"{'round':>5} {'seconds':>8} {'troubles':>8} {'entries':>8} {'notes':>6} {'runs':>5} {'odd times':>9}  result",
        flush=True,
    )
    end, number, failed = time.monotonic() + args.minutes * 60, 0, 0
    total = Report(0)
    while time.monotonic() < end:
        number += 1
        folder = top / f"{number:03}"
        folder.mkdir()
        with mounted(folder / "disk", DISK_MB) if os.geteuid() == 0 else nullcontext() as disk:
            dice = random.Random(f"{seed}-{number}")
            report = anyio.run(partial(run_round, number, folder, dice, disk, seconds=args.seconds))
            if report.wrong and disk is not None:
                subprocess.run(["cp", "-a", str(disk.folder), str(folder / "kept")], check=False)
        result = "; ".join(report.wrong) or "ok"
        counts = f"{report.troubles:>8} {report.entries:>8} {report.notes:>6} {report.runs:>5} {report.odd_times:>9}"
        figures = f"{report.seconds:>8.1f} {counts}"
        print(f"{number:>5} {figures}  {result[:1000]}", flush=True)
        failed += bool(report.wrong)
        for name in ("troubles", "entries", "notes", "runs", "odd_times"):
            setattr(total, name, getattr(total, name) + getattr(report, name))
        if not report.wrong:
            shutil.rmtree(folder, ignore_errors=True)
    figures = f"{total.troubles:>8} {total.entries:>8} {total.notes:>6} {total.runs:>5} {total.odd_times:>9}"
    print(f"{'sum':>5} {'':>8} {figures}  {failed} failed")
    if not failed:
        shutil.rmtree(top, ignore_errors=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
