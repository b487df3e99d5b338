"""Runs a package as `python -m` does, on a clock that jumps: `python -m tests.chaos.jumping_clock FILE PACKAGE …`.

FILE says by how many seconds the clock is wrong, and may change at any time. Python's own clocks alone are wrong, in
this process alone: the machine and its server keep the right time, as do clocks that never go back.
"""

import datetime as dt
import importlib
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

_TIME, _TIME_NS = time.time, time.time_ns


def wrong_by_s(file: Path) -> float:
    """Return the number in the file, 0 where there is none."""
    with suppress(OSError, ValueError):
        return float(file.read_text(encoding="utf-8"))
    return 0.0


class _Kind(type):
    """Makes what stands in for `datetime` build the real one, and know it again."""

    def __call__(cls, *args: Any, **named: Any) -> dt.datetime:
        return datetime(*args, **named)  # noqa: DTZ001  the caller gives the zone

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)


def set_jumping(file: Path) -> None:
    """Make the clocks of this process wrong by what the file says."""

    class Jumping(datetime, metaclass=_Kind):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Any:
            return datetime.now(tz) + dt.timedelta(seconds=wrong_by_s(file))

    dt.datetime = Jumping  # type: ignore[misc]
    time.time = lambda: _TIME() + wrong_by_s(file)
    time.time_ns = lambda: _TIME_NS() + int(wrong_by_s(file) * 1e9)


def main() -> None:
    """Import the package's program, set the clock, and run it."""
    file, package, *words = sys.argv[1:]
    program = importlib.import_module(f"{package}.__main__")  # its types know the real `datetime`
    sys.argv = [package, *words]
    set_jumping(Path(file))
    sys.exit(program.main())


if __name__ == "__main__":
    main()
