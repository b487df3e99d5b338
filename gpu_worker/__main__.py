"""`python -m gpu_worker --arena A`: take runs of an arena until it is closed."""

import mesh.safe_path  # noqa: F401  before all others

# isort: split

import argparse
import secrets
import sys
from pathlib import Path

import anyio

from gpu_worker.doctor import examine
from gpu_worker.sandbox_choice import check_wish
from gpu_worker.supervisor import cgroup
from gpu_worker.worker import run_worker
from mesh import settings
from mesh.daemon import run
from mesh.jetstream import connect
from mesh.server import find_url
from mesh.wire import check_token

EXAMPLES = """\
examples:
  python -m gpu_worker --arena nanolm --slots 2
  python -m gpu_worker doctor      # which sandbox holds on this machine, and why
"""


def main() -> int:
    """Parse the command line and run."""
    if sys.argv[1:2] == ["doctor"]:
        return run(examine, name="doctor")
    parser = argparse.ArgumentParser(
        prog="python -m gpu_worker",
        description="Take runs of an arena until it is closed. The first SIGTERM or Ctrl-C drains: no more runs are "
        "taken, those that have begun are finished; the second hands them back at once.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--arena", required=True, help="name of the arena")
    parser.add_argument("--slots", type=int, help="runs at a time (default: one per GPU, or one per core)")
    parser.add_argument("--slots-per-gpu", type=int, default=1, metavar="N", help="runs at a time on one GPU")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    own = f"worker-{secrets.token_hex(2)}"
    parser.add_argument("--name", default=own, help="name on the board (default: worker- and four letters)")
    parser.add_argument("--nats", metavar="URL", help="NATS server (default: MESH_NATS, else the one of `mesh up`)")
    parser.add_argument("--home", type=Path, help="folder of caches (default: the nearest .mesh)")
    parser.add_argument("--allow-weak-sandbox", action="store_true", help="go on where only a weak sandbox holds")
    parser.add_argument("--no-sandbox", action="store_true", help="run trials as this user, unheld")
    parser.add_argument("--now", action="store_true", help="already the first signal hands the runs back at once")
    args = parser.parse_args()
    draining = None if args.now else anyio.Event()

    async def work() -> None:
        cgroup.prepare()
        wish = check_wish(weak=args.allow_weak_sandbox, none=args.no_sandbox)
        home = (args.home or settings.home()).resolve()
        url, credentials = find_url(args.nats, home), settings.credentials(args.nats)
        async with connect(url, name=check_token("name", args.name), outage_s=600, credentials=credentials) as hub:
            bus = await hub.arena(args.arena)
            why = await run_worker(
                bus,
                name=args.name,
                home=home,
                slots=args.slots,
                slots_per_gpu=args.slots_per_gpu,
                device=args.device,
                sandbox=wish,
                draining=draining,
            )
            print(f"{args.name}: {why}", file=sys.stderr)

    return run(work, name=args.name, draining=draining)


if __name__ == "__main__":
    sys.exit(main())
