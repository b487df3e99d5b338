"""`python -m gpu_worker --arena A`: take runs of an arena until it is closed."""

import mesh.safe_path  # noqa: F401  before all others

# isort: split

import argparse
import secrets
import sys
from pathlib import Path

import anyio

from gpu_worker.doctor import examine_worker
from gpu_worker.sandbox_choice import check_wish
from gpu_worker.supervisor import cgroup
from gpu_worker.worker import run_worker
from mesh import settings
from mesh.daemon import run_daemon
from mesh.jetstream import connect
from mesh.jetstream.address import parse_address
from mesh.machine_price import price_words
from mesh.server import find_url
from mesh.wire import check_token

EXAMPLES = """\
examples:
  python -m gpu_worker --arena nanolm --slots 2
  python -m gpu_worker --arena nanolm --nats nats://10.0.0.5:4222 --price-per-hour 2.50
  python -m gpu_worker doctor      # show which sandbox holds on this machine, and why
"""


def main() -> int:
    """Parse the command line and run."""
    if sys.argv[1:2] == ["doctor"]:
        return run_daemon(examine_worker, name="doctor")
    args = (options := parser()).parse_args()
    if not (arena := settings.value("arena", args.arena)):
        options.error("--arena is missing; name the arena, such as --arena digits")
    draining = None if args.now else anyio.Event()

    async def work() -> None:
        cgroup.prepare()
        wish = check_wish(weak=args.allow_weak_sandbox, none=args.no_sandbox)
        price = price_words(args.price_per_hour, args.provider, args.instance, spot=getattr(args, "spot", False))
        home = (args.home or settings.home()).resolve()
        url, credentials = find_url(args.nats, home), settings.credentials(args.nats)
        async with connect(url, name=check_token("name", args.name), outage_s=600, credentials=credentials) as hub:
            bus = await hub.arena(arena)
            print(f"{args.name}: takes runs of arena {arena} on {parse_address(url)[1]}", file=sys.stderr)
            why = await run_worker(
                bus,
                name=args.name,
                home=home,
                slots=args.slots,
                slots_per_gpu=args.slots_per_gpu,
                device=args.device,
                sandbox=wish,
                price=price,
                draining=draining,
            )
            print(f"{args.name}: {why}", file=sys.stderr)

    return run_daemon(work, name=args.name, draining=draining)


def parser() -> argparse.ArgumentParser:
    """Return the options of `python -m gpu_worker`."""
    made = argparse.ArgumentParser(
        prog="python -m gpu_worker",
        description="Take runs of an arena until it is closed.\n\n"
        "The first SIGTERM or Ctrl-C drains the worker: it takes no more runs, and finishes those\n"
        "that it has begun. The second one hands them back at once.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--arena", help="Take runs of this arena (default: the setting `arena`).")
    made.add_argument("--slots", type=int, metavar="N", help="Run N trials at a time (default: one per GPU or core).")
    made.add_argument(
        "--slots-per-gpu", type=int, default=1, metavar="N", help="Run N trials at a time on one GPU (default: 1)."
    )
    made.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="Run trials on this device (default: auto)."
    )
    name = f"worker-{secrets.token_hex(2)}"
    made.add_argument("--name", default=name, help="Use this name on the board (default: worker- and four digits).")
    made.add_argument(
        "--price-per-hour",
        "--price",
        type=float,
        metavar="USD",
        help="What this machine costs, in dollars per hour, 0 for your own; every run then carries its cost "
        "(default: unknown).",
    )
    made.add_argument(
        "--provider", default="", metavar="NAME", help="Who rents this machine out; with --instance the price is known."
    )
    made.add_argument(
        "--instance", default="", metavar="NAME", help="The provider's name for this machine, as `mesh prices` has it."
    )
    made.add_argument("--nats", metavar="URL", help="Connect to this server (default: MESH_NATS, else `mesh up`'s).")
    made.add_argument("--home", type=Path, help="Keep caches and runs in this folder (default: the nearest .mesh).")
    made.add_argument(
        "--allow-weak-sandbox", action="store_true", help="Start also where only a weak sandbox (tier D) holds."
    )
    made.add_argument("--no-sandbox", action="store_true", help="Run trials as this user, without a sandbox.")
    made.add_argument("--now", action="store_true", help="Hand runs back at once on the first signal; do not drain.")
    return made


if __name__ == "__main__":
    sys.exit(main())
