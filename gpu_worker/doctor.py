"""`python -m gpu_worker doctor`: what this machine offers to trials; it attacks every sandbox tier from inside."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gpu_worker.environment import inherited
from gpu_worker.machine import survey
from gpu_worker.sandbox import landlock
from gpu_worker.sandbox.tiers import Tier
from gpu_worker.sandbox_choice import OPEN_BY_DESIGN, TierFinding, candidates, closed_to_trials, starts_cuda, try_tier
from gpu_worker.supervisor import cgroup
from gpu_worker.supervisor.client import start_supervisor
from gpu_worker.supervisor.protocol import Launch, Limits, Request
from mesh import settings
from mesh.errors import HostTrouble

ALL: tuple[Tier, ...] = ("A", "B", "C", "D", "E")


async def examine_worker() -> None:
    """Try every tier and print which attacks each blocks.

    Raises:
        HostTrouble: no strong tier holds.
    """
    parser = argparse.ArgumentParser(
        prog="python -m gpu_worker doctor",
        description="Attack every sandbox tier from inside, and show which attacks each blocks on this machine.",
    )
    parser.add_argument("--home", type=Path, help="folder of caches and runs (default: the nearest .mesh)")
    home = (parser.parse_args(sys.argv[2:]).home or settings.home()).resolve()
    machine = survey("auto", None)
    cuda, tiers = starts_cuda(machine), [tier for tier in ALL if tier in (*candidates(), "D", "E")]
    found = {tier: await try_tier(tier, settings.runs_dir(home), cuda=cuda) for tier in tiers}
    console = Console(width=None if sys.stdout.isatty() else 110)
    device = f"{machine.device}, {machine.memory_mb:,} MB"
    console.print(f"{machine.worker_class} ({device}), {len(machine.slots)} slots, Landlock ABI {landlock.abi()}")
    cgroup.prepare()
    async with start_supervisor() as supervisor:
        launch = Launch(("true",), inherited(), "/")
        probe = await supervisor.run(Request(launch, Limits(10, memory_mb=64)))
    enforced = (
        "by the kernel (control groups)" if probe.bounded else "by the supervisor, which measures ten times a second"
    )
    console.print(f"memory limits of trials are enforced {enforced}")
    console.print(table_of(found))
    for tier, finding in found.items():
        if finding.error:
            console.print(Text(f"tier {tier}: {finding.error}"))
    best = next((tier for tier in candidates() if found[tier].holds), None)
    if best is None:
        raise HostTrouble("no strong sandbox holds here; a worker needs --allow-weak-sandbox or --no-sandbox to start")
    console.print(f"a worker on this machine runs its trials in sandbox tier {best}")
    if closed := closed_to_trials(best, settings.runs_dir(home)):
        why, cure = closed
        console.print(Text(f"{why}: {cure}"))


def table_of(found: dict[Tier, TierFinding]) -> Table:
    """Return a table with a row for every probe and a column for every tier."""
    table = Table("a trial tries to", *found)
    for probe in dict.fromkeys(name for finding in found.values() for name in finding.results):
        cells = []
        for tier, finding in found.items():
            result = finding.results.get(probe, "not tried")
            by_design = result == "open" and probe in OPEN_BY_DESIGN.get(tier, ())
            cells.append(Text("open by design" if by_design else result, "red" if result == "open" else ""))
        table.add_row(probe, *cells)
    table.add_section()
    table.add_row(
        "the tier",
        *("holds" if f.holds and t in "ABC" else "is weak" if f.results else "fails" for t, f in found.items()),
    )
    return table
