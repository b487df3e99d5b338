"""The clock of arenas/search: an answer's time is its own, whatever else uses the CPU meanwhile."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PREDICT = Path(__file__).parents[1] / "arenas" / "search" / "predict.py"
RANK = """
import time

class Index:
    def search(self, query):
        end = time.process_time() + float(query)
        while query[0] == "0" and time.process_time() < end:
            pass
        if query[0] == "1":
            time.sleep(float(query) - 1)
        print("a print of the candidate")
        return [query]

def index(documents, learned):
    return Index()
"""
HOG = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])})\nprint(flush=True)\nwhile True: pass"


def asked(folder: Path, *queries: str, on: int | None = None, program: Path = PREDICT) -> list[tuple[float, float]]:
    """The milliseconds of each answer by the clock of predict.py, and by the wall."""
    shutil.copy(program, folder / "predict.py")
    (folder / "rank.py").write_text(RANK)
    (folder / "learned.json").write_text("{}")

    def pin() -> None:
        if on is not None:
            os.sched_setaffinity(0, {on})

    found = []
    with subprocess.Popen(
        [sys.executable, "predict.py"],
        cwd=folder,
        env=os.environ | {"MESH_OUT": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=pin,
    ) as child:
        assert child.stdin
        assert child.stdout
        for name, value in [("documents", ""), *(("query", each) for each in queries)]:
            began = time.perf_counter()
            line = json.dumps({name: [] if name == "documents" else value})
            child.stdin.write(line.encode() + b"\n")
            child.stdin.flush()
            answer, ms = json.loads(child.stdout.readline()), float(child.stdout.readline())
            found.append((ms, 1000 * (time.perf_counter() - began)))
            assert name == "documents" or answer == [value]
        child.stdin.close()
    return found[1:]


def test_what_an_engine_computes_and_what_it_sleeps_is_counted(tmp_path: Path) -> None:
    (computed, _), (slept, _), (both, wall) = asked(tmp_path, "0.08", "1.08", "0.0")
    assert computed >= 80  # never less than the CPU time
    assert slept >= 70  # the asking process may have waited for a CPU while the engine slept: that time is taken out
    assert both <= wall


def test_what_others_compute_on_the_same_cpu_is_not_counted(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    hogs = [subprocess.Popen([sys.executable, "-c", HOG, str(cpu)], stdout=subprocess.PIPE) for _ in range(3)]
    try:
        for hog in hogs:
            assert hog.stdout
            hog.stdout.readline()  # it begins
        [(ms, wall)] = asked(tmp_path, "0.15", on=cpu)
    finally:
        for hog in hogs:
            hog.kill()
            hog.communicate()
    assert ms >= 150
    assert ms < 0.75 * wall  # of four that share a CPU, each has a quarter


def test_without_the_kernels_numbers_cpu_time_counts(tmp_path: Path) -> None:
    source = tmp_path / "changed.py"
    text = PREDICT.read_text()
    assert "/proc/{pid}/schedstat" in text
    source.write_text(text.replace("/proc/{pid}/schedstat", "/proc/{pid}/not-there"))
    (computed, _), (slept, _) = asked(tmp_path, "0.08", "1.08", program=source)
    assert computed >= 80
    assert slept < 80
