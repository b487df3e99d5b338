"""Independent repetitions on all cores."""

import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def on_all_cores(function: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Sequence[_Result]:
    """Return what a function says of each job, in the order of the jobs.

    Args:
        function: of a module; it runs in processes of its own.
        jobs: arguments that a process can be sent.
    """
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        return pool.map(function, list(jobs), chunksize=5)
