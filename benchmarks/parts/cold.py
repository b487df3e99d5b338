"""How long commands take to start, compared with an empty Python and the imports that they need.

`help.over_pass` and `status.over_pass` are (command - imports + pass) / pass, each the fastest of its rounds (a busy
machine only adds time): what remains without the unavoidable imports, in units of `python -c pass`. Unavoidable are,
for `mesh --help`, cyclopts with what it draws help with (attrs, docstring_parser, rich's console, panel and table); for
`mesh status`, cyclopts, anyio with asyncio, msgspec, nats-py (without aiohttp), uuid_utils and psutil. `mesh status`
connects to a running server and folds a log of one entry. Bytecode is kept between starts, as in an installation.
"""

import os
import sys
import time

import anyio

from benchmarks.parts.harness import Figures, Goal

GOALS: dict[str, Goal] = {"help.over_pass": ("<=", 3.0), "status.over_pass": ("<=", 3.0)}
HELP_IMPORTS = "import cyclopts, cyclopts.help, rich.console, rich.panel, rich.table"
STATUS_IMPORTS = (
    "import sys; sys.modules['aiohttp'] = None; "
    "import anyio, anyio._backends._asyncio, cyclopts, msgspec, nats, psutil, uuid_utils"
)
WARM_UP = 2


async def measure_starts(url: str, arena: str, rounds: int) -> Figures:
    """Return the fastest start of every command (ms), and what commands need beyond their imports."""
    status = ("-m", "mesh_cli", "status", "--arena", arena, "--nats", url)
    words = {
        "pass": ("-c", "pass"),
        "help_imports": ("-c", HELP_IMPORTS),
        "help": ("-m", "mesh_cli", "--help"),
        "status_imports": ("-c", STATUS_IMPORTS),
        "status": status,
    }
    took: dict[str, list[float]] = {name: [] for name in words}
    for number in range(rounds + WARM_UP):
        for name, command in words.items():
            began = time.perf_counter()
            await anyio.run_process([sys.executable, *command], env=with_bytecode())
            if number >= WARM_UP:
                took[name].append(time.perf_counter() - began)
    best = {name: min(seconds) for name, seconds in took.items()}
    figures = {f"{name}_ms": seconds * 1000 for name, seconds in best.items()}
    for name in ("help", "status"):
        figures[f"{name}.over_pass"] = (best[name] - best[f"{name}_imports"] + best["pass"]) / best["pass"]
    return figures


def with_bytecode() -> dict[str, str]:
    """Return this process's environment, in which Python may keep bytecode."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
