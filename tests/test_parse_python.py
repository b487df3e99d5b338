"""Threads that parse Python at the same time."""

import ast
import gc
import sys
import threading
from collections.abc import Iterator

import pytest

from mesh.python_syntax import parse_python

SOURCE = "\n".join(
    f"def f{n}(a, b):\n    return (a + {n}) * b if a > {n} else [x for x in range(b)]" for n in range(60)
)


class Circle:
    """Is freed by the collector, which runs Python code then: another thread may go on."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


@pytest.fixture
def busy_interpreter() -> Iterator[None]:
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(10, 2, 2)
    sys.setswitchinterval(1e-6)
    yield
    gc.set_threshold(*before)
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("busy_interpreter")
def test_threads_that_parse_at_the_same_time_do_not_disturb_each_other() -> None:
    wanted, wrong = ast.dump(ast.parse(SOURCE)), list[str]()

    def parse() -> None:
        for _ in range(60):
            for _ in range(20):
                Circle()
            try:
                found = parse_python(SOURCE)
            except SystemError as error:
                wrong.append(str(error))
            else:
                if ast.dump(found) != wanted:
                    wrong.append("another tree")

    threads = [threading.Thread(target=parse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
