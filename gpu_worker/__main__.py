"""`python -m gpu_worker --arena A`: take runs of an arena until it is closed."""

import mesh.safe_path  # noqa: F401  before all others

# isort: split

import argparse
import secrets
import sys
from pathlib import Path

import anyio

from gpu_worker.doctor import examine_worker
from gpu_worker.idleness import idle_stop_s
from gpu_worker.own_metrics import WorkerFigures
from gpu_worker.preemption import heeding_notices
from gpu_worker.sandbox_choice import check_wish
from gpu_worker.supervisor import cgroup
from gpu_worker.worker import run_worker
from mesh import settings
from mesh.daemon import run_daemon
from mesh.jetstream import connect
from mesh.jetstream.address import parse_address
from mesh.jetstream.member import member_of, name_of
from mesh.log_lines import LOG_OPTION
from mesh.machine_price import price_words
from mesh.metric import ShownMetric
from mesh.server import find_url
from mesh.show_metrics import METRICS_OPTION, server_trouble, showing_metrics
from mesh.wire import check_token

EXAMPLES = """\
examples:
  python -m gpu_worker --arena nanolm --slots 2
  python -m gpu_worker --arena nanolm --nats nats://10.0.0.5:4222 --price-per-hour 2.50
  python -m gpu_worker --arena nanolm --price-per-hour 2.69 --idle-stop 30m --spot
  python -m gpu_worker doctor      # show which sandbox holds on this machine, and why
"""


def main() -> int:
    """Parse the command line and run."""
    if sys.argv[1:2] == ["doctor"]:
        return run_daemon(examine_worker, name="doctor")
    args = (options := parser()).parse_args()
    if not (arena := settings.value("arena", args.arena)):
        options.error("--arena is missing; name the arena, such as --arena digits")
    draining, default = None if args.now else anyio.Event(), f"worker-{secrets.token_hex(2)}"
    preempted = anyio.Event() if args.spot else None
    name = args.name or default

    async def work() -> None:
        cgroup.prepare()
        wish = check_wish(weak=args.allow_weak_sandbox, none=args.no_sandbox)
        price = price_words(args.price_per_hour, args.provider, args.instance, spot=args.spot)
        idle_s = idle_stop_s(args.idle_stop, is_priced=bool(price.per_hour_usd or price.provider))
        home = (args.home or settings.home()).resolve()
        url, credentials = find_url(args.nats, home), settings.credentials(args.nats)
        nonlocal name
        name = check_token("name", name_of(member_of(credentials), args.name) or default)
        async with connect(url, name=name, outage_s=600, credentials=credentials) as hub:
            bus = await hub.arena(arena)
            print(f"{name}: takes runs of arena {arena} on {parse_address(url)[1]}", file=sys.stderr)
            figures = WorkerFigures()

            async def collect() -> list[ShownMetric]:
                return figures.metrics()

            async def trouble() -> str:
                return await server_trouble(bus) or figures.unfit()

            async with heeding_notices(preempted, say), showing_metrics(args.metrics, collect, trouble, say):
                why = await run_worker(
                    bus,
                    name=name,
                    home=home,
                    slots=args.slots,
                    slots_per_gpu=args.slots_per_gpu,
                    device=args.device,
                    sandbox=wish,
                    price=price,
                    draining=draining,
                    preempted=preempted,
                    idle_stop_s=idle_s,
                    figures=figures,
                )
            print(f"{name}: {why}", file=sys.stderr)

    def say(words: str) -> None:
        print(f"{name}: {words}", file=sys.stderr)

    return run_daemon(work, name=name, draining=draining, preempted=preempted, log_json=args.log_json)


def parser() -> argparse.ArgumentParser:
    """Return the options of `python -m gpu_worker`."""
    made = argparse.ArgumentParser(
        prog="python -m gpu_worker",
        description="Take runs of an arena until it is closed.\n\n"
        "The first SIGTERM or Ctrl-C drains the worker: it takes no more runs, and finishes those\n"
        "that it has begun. The second one hands them back at once. With --spot the first SIGTERM does.",
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
    made.add_argument("--name", help="Use this name on the board (default: that of the credentials, else worker-….)")
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
    made.add_argument(
        "--idle-stop",
        metavar="TIME",
        help="Leave after so long without a run, such as 10m; 0 for never (default: 10m for a machine with a price).",
    )
    made.add_argument(
        "--spot",
        action="store_true",
        help="Watch for the notice that AWS or Google takes this machine away, and hand runs back at once; SIGTERM is "
        "such a notice too.",
    )
    made.add_argument("--metrics", default="", metavar="PORT|ADDRESS", help=METRICS_OPTION)
    made.add_argument("--log-json", action="store_true", help=LOG_OPTION)
    made.add_argument("--now", action="store_true", help="Hand runs back at once on the first signal; do not drain.")
    return made


if __name__ == "__main__":
    sys.exit(main())
