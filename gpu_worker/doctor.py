"""`python -m gpu_worker doctor`: what this machine offers to trials, found by attacking from inside every tier."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpu_worker.launch import Launch, passed_on
from gpu_worker.machine import survey
from gpu_worker.sandbox import landlock
from gpu_worker.sandbox.tiers import Tier
from gpu_worker.sandbox_choice import OPEN_BY_DESIGN, Finding, candidates, try_tier
from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.client import supervisor
from mesh import settings
from mesh.errors import HostTrouble

ALL: tuple[Tier, ...] = ("A", "B", "C", "D", "E")


async def examine() -> None:
    """Try every tier and print a table of what is blocked in each.

    Raises:
        HostTrouble: none of the strong tiers holds.
    """
    parser = argparse.ArgumentParser(prog="python -m gpu_worker doctor", description="Show which sandbox holds here.")
    parser.add_argument("--home", type=Path, help="folder of caches (default: the nearest .mesh)")
    home = (parser.parse_args(sys.argv[2:]).home or settings.home()).resolve()
    machine = survey("auto", None)
    found = {tier: await try_tier(tier, settings.runs_dir(home)) for tier in ALL if tier in (*candidates(), "D", "E")}
    console = Console(width=None if sys.stdout.isatty() else 110)
    device = f"{machine.device}, {machine.memory_mb:,} MB"
    console.print(f"{machine.worker_class} ({device}), {len(machine.slots)} slots, Landlock ABI {landlock.abi()}")
    cgroup.prepare()
    async with supervisor() as keeper:
        bounded = await keeper.run(Launch(("true",), passed_on(), "/"), deadline_s=10, memory_mb=64)
    by = "the kernel (control groups)" if bounded.bounded else "the watch alone"
    console.print(f"memory of trials is bounded by {by}")
    console.print(table_of(found))
    for tier, finding in found.items():
        if finding.error:
            console.print(Text(f"tier {tier}: {finding.error}"))
    best = next((tier for tier in candidates() if found[tier].holds), None)
    if best is None:
        raise HostTrouble("no strong sandbox holds: a worker starts only with --allow-weak-sandbox or --no-sandbox")
    console.print(f"a worker here holds its trials by tier {best}")


def table_of(found: dict[Tier, Finding]) -> Table:
    """Return a row for every probe, and a column for every tier."""
    table = Table("what a trial tries", *found)
    for probe in dict.fromkeys(name for finding in found.values() for name in finding.said):
        cells = []
        for tier, finding in found.items():
            word = finding.said.get(probe, "not tried")
            by_design = word == "open" and probe in OPEN_BY_DESIGN.get(tier, ())
            cells.append(Text(f"{word} (known)" if by_design else word, "red" if word == "open" else ""))
        table.add_row(probe, *cells)
    table.add_section()
    table.add_row(
        "the tier", *("holds" if f.holds and t in "ABC" else "weak" if f.said else "no" for t, f in found.items())
    )
    return table
