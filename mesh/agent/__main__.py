"""`python -m mesh.agent ROLE --arena A`: run agents of one role until the arena is closed."""

import mesh.safe_path  # noqa: F401  before all others

# isort: split

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

from mesh import settings
from mesh.agent.call_keeper import CallKeeper
from mesh.agent.code_reader import CodeReader
from mesh.agent.command_runner import CommandRunner
from mesh.agent.common import Common
from mesh.agent.item_reader import ItemReader
from mesh.agent.own_name import OwnName, own_name
from mesh.agent.owner_reader import OwnerReader
from mesh.agent.protocol import Agent, Checking, Context, role_of
from mesh.agent.queue_reader import QueueReader
from mesh.agent.roles import SHORT_NAMES, find_role, make, make_command_runner
from mesh.agent.runtime import MAX_FAILURES, Seat, run_agents
from mesh.agent.text_reader import TextReader
from mesh.arena_metrics import ArenaMetrics
from mesh.bus import Objects
from mesh.code import CodeStore
from mesh.daemon import run_daemon
from mesh.errors import BadInput, MeshError
from mesh.follow import Follower
from mesh.jetstream import JetStreamBus, JetStreamHub, connect
from mesh.jetstream.address import parse_address
from mesh.jetstream.member import member_of, name_of
from mesh.log_lines import LOG_OPTION
from mesh.memory import MemoryBus
from mesh.server import find_url
from mesh.show_metrics import METRICS_OPTION, showing_metrics
from mesh.wire import check_token

_NAMED = ("command", "model", "api_base", "budget_usd", "budget_tokens", "budget_calls")
"""Options of roles that are options of the command line."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that numeric libraries read when they are imported."""

_EXAMPLES = """\
examples:
  python -m mesh.agent explorer --arena nanolm --count 4
  python -m mesh.agent explorer --arena nanolm --name ann --option sampler=random
  python -m mesh.agent researcher --arena nanolm --model openai/gpt-4o --budget-usd 5
  python -m mesh.agent critic --arena nanolm --model openai/gpt-4o-mini --budget-usd 1
  python -m mesh.agent coder --arena nanolm --command claude --budget-usd 5
  python -m mesh.agent my_pkg.mod:Role --arena nanolm --nats nats://10.0.0.5:4222
  python -m mesh.agent my_pkg.mod:Role --check
"""


def main() -> int:
    """Parse the command line and run."""
    for variable in THREADS:
        os.environ.setdefault(variable, "1")  # matrices are small: threads that wait for each other take trials' cores
    parser = _parser()
    args = parser.parse_args()
    arena = "" if args.check else settings.value("arena", args.arena)
    if not arena and not args.check:
        parser.error("--arena is missing; name the arena, such as --arena digits")
    shown = args.name or args.role.partition(":")[2].lower() or args.role

    async def agents() -> None:
        role = find_role(args.role, args.path)
        named = {name: getattr(args, name) for name in _NAMED}
        options = {name: value for name, value in named.items() if value} | dict(_option(text) for text in args.option)
        check_token("name", shown)
        if args.check:
            with tempfile.TemporaryDirectory(prefix="mesh-check-") as folder:
                store = CodeStore(Path(folder) / "code.git", MemoryBus("check"))
                commands = command_runner(role, Path(folder), options)
                context = Context(shown, 0, CodeReader(store), options, args.path, commands=commands)
                made = make("role", args.role, role, context=context)
                if isinstance(made, Checking):
                    await made.check()
            print(f"{shown}: role {args.role!r} can start", file=sys.stderr)
            return
        home = (args.home or settings.home()).resolve()
        url, credentials = find_url(args.nats, home), settings.credentials(args.nats)
        member = member_of(credentials)
        if member and (args.count, args.first) != (1, 1):
            raise BadInput(f"--count is {args.count}, but the credentials are for one agent, {member.name!r}: use 1")
        given = name_of(member, args.name)
        async with connect(url, name=given or shown, outage_s=600, credentials=credentials) as hub:
            bus = await hub.arena(arena)
            names, numbers = settings.names_dir(home, arena), f"{args.first}-{args.count}"
            with nullcontext(OwnName(given)) if given else own_name(names, shown, numbers) as own:
                await work(role, options, home, hub, bus, own, parse_address(url)[1])

    async def work(
        role: type[Agent],
        options: dict[str, str],
        home: Path,
        hub: JetStreamHub,
        bus: JetStreamBus,
        named: OwnName,
        where: str,
    ) -> None:
        own = named.name
        code = CodeStore(settings.code_dir(home, arena), bus)
        single = args.count == 1 and args.first == 1
        reader, code_reader, common = item_reader(role, bus), CodeReader(code), Common()
        queue, owners = (QueueReader(bus), OwnerReader(hub)) if reader else (None, None)
        commands = command_runner(role, settings.coders_dir(home, arena), options)
        seats = []
        for index in range(args.first - 1, args.first - 1 + args.count):
            agent_name = own if single else f"{own}-{index + 1}"
            unposted = settings.unposted_calls_file(home, arena, agent_name)
            keeper = CallKeeper(bus)
            texts = TextReader(bus)
            known = (reader, keeper, unposted, texts, common, commands, queue, owners)
            context = Context(agent_name, index, code_reader, options, args.path, *known)
            agent: Agent = make("role", args.role, role, context=context)
            seats.append(Seat(agent_name, agent, getattr(agent, "model", options.get("model", ""))))
        print(f"{own}: works in arena {arena} on {where}", file=sys.stderr)
        snapshot, shares = settings.snapshot_file(home, arena), settings.takes_boards()

        async def show(follower: Follower) -> None:
            metrics = ArenaMetrics(hub, bus, lambda: follower.board)
            async with showing_metrics(args.metrics, metrics.collect, metrics.trouble, say):
                await metrics.count()

        named.is_settled = False
        try:
            why = await run_agents(
                bus, seats, code, snapshot=snapshot, shares=shares, beside=show if args.metrics else None
            )
        finally:
            named.is_settled = all(seat.is_settled for seat in seats)
        print(f"{own}: {why}", file=sys.stderr)
        if leaving := next((seat.leaving for seat in seats if seat.leaving), None):
            raise leaving
        if failed := [seat for seat in seats if seat.failures >= MAX_FAILURES]:
            raise MeshError(f"left after {MAX_FAILURES} failures in a row; the last was: {failed[0].last_failure}")

    def say(words: str) -> None:
        print(f"{shown}: {words}", file=sys.stderr)

    return run_daemon(agents, name=shown, log_json=args.log_json)


def item_reader(role: type[Agent], objects: Objects) -> ItemReader | None:
    """Return what reads the scores of single items, for a curator; None for others: no proposer sees single items."""
    return ItemReader(objects) if role_of(role) == "curator" else None


def command_runner(role: type[Agent], folder: Path, options: Mapping[str, str]) -> CommandRunner | None:
    """Return what runs the commands of a coder in the sandbox of this machine; None for others."""
    if role_of(role) != "coder":
        return None
    return make_command_runner(folder, options.get("sandbox", "auto"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mesh.agent",
        description="Run agents of one role until the arena is closed.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("role", help=f"{', '.join(SHORT_NAMES)}, or your own role as module:Class")
    parser.add_argument("--arena", help="name of the arena (default: the setting `arena`)")
    parser.add_argument("--count", type=_positive, default=1, help="run this many agents (default 1)")
    parser.add_argument("--first", type=_positive, default=1, help="number the first agent so (default 1)")
    parser.add_argument(
        "--name",
        help="name on the board, with a number if there are several (default: that of one that was killed here, or the "
        "role and four letters)",
    )
    parser.add_argument(
        "--path", type=Path, default=Path(), help="folder of your own module:Class (default: the current folder)"
    )
    parser.add_argument("--nats", metavar="URL", help="NATS server (default: MESH_NATS, else that of `mesh up`)")
    parser.add_argument("--home", type=Path, help="folder of caches (default: the nearest .mesh)")
    parser.add_argument("--metrics", default="", metavar="PORT|ADDRESS", help=METRICS_OPTION)
    parser.add_argument("--log-json", action="store_true", help=LOG_OPTION)
    models = parser.add_argument_group(
        "roles that ask a model (researcher, critic, coder)", "the environment has the keys, such as OPENAI_API_KEY"
    )
    models.add_argument("--model", metavar="PROVIDER/NAME", help="the model, such as openai/gpt-4o")
    models.add_argument("--api-base", metavar="URL", help="use this server, which has the provider's API")
    models.add_argument("--budget-usd", metavar="X", help="limit of each agent in dollars, over all its restarts")
    models.add_argument("--budget-tokens", metavar="N", help="limit of each agent in tokens, over all its restarts")
    coders = parser.add_argument_group("a coder, which runs a coding agent of yours")
    coders.add_argument(
        "--command",
        metavar="NAME|WORDS",
        help="claude, codex, gemini, opencode, aider or openclaw, or a command line with {prompt} in it",
    )
    coders.add_argument("--budget-calls", metavar="N", help="limit of each coder in runs, over all its restarts")
    parser.add_argument("--check", action="store_true", help="check the role and its options; start nothing")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="set an option of the role")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small; use 1 or more")
    return number


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise BadInput(f"--option is {text!r}; use KEY=VALUE")
    return key, value


if __name__ == "__main__":
    sys.exit(main())
