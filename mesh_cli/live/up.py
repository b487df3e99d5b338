"""`mesh up`: a whole swarm on one machine as child processes, shown live; it leaves nothing running.

Starts (or adopts) the server, opens the arena, runs the projector, agents and a worker, restarts what dies, and ends
them all on Ctrl-C, at the end of the time, or when the arena is closed.
"""

import importlib.util
import json
import math
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from agents.llm.judge_price import judge_price
from agents.llm.model_options import RESEARCHER_OPTIONS, model_parameters
from agents.search.structure.moves import can_rewrite
from gpu_worker.machine import survey
from mesh import arena, own_packages, settings
from mesh.arena_files import read_arena
from mesh.bus import ArenaBus
from mesh.editable_paths import editable_paths, is_pattern
from mesh.errors import BadInput
from mesh.follow import Follower
from mesh.foreign_folder import describe
from mesh.jetstream import connect
from mesh.jetstream.member import member_of
from mesh.knobs import knobs_of
from mesh.literals import how_to_add_knobs, language_of
from mesh.machine_price import UNKNOWN_PRICE, MachinePrice
from mesh.money import limit_usd
from mesh.open_arena import exactly, open_arena
from mesh.safe_path import PYTHON, outside
from mesh.server import embedded
from mesh.spec import ArenaSpec
from mesh_cli.live import broken_baseline, own_page, own_roles
from mesh_cli.live.children import Children
from mesh_cli.live.coders import NO_CODERS, Coders, split_options
from mesh_cli.live.headline import is_reached
from mesh_cli.live.spending import agree_on_cost, priced_machine
from mesh_cli.live.status import projected
from mesh_cli.live.summary import summary
from mesh_cli.live.up_view import view_of

_LOOK_EVERY_S = 0.5
SANDBOX_FLAGS = {"auto": [], "weak": ["--allow-weak-sandbox"], "none": ["--no-sandbox"]}


class Size(msgspec.Struct, frozen=True):
    """How long and how large: minutes (None: no end), explorers, trials at a time (None: what the machine has).

    It ends earlier where the champion's mean score is `goal` or better.
    """

    minutes: float | None
    explorers: int
    slots: int | None
    goal: float | None = None


class Thinker(msgspec.Struct, frozen=True):
    """The model that a researcher asks and its limits; None leaves the default."""

    model: str
    api_base: str | None = None
    budget_usd: float | None = None
    budget_tokens: int | None = None

    def flags(self) -> list[str]:
        """Return it as options of a command."""
        words = msgspec.structs.asdict(self)
        return [word for name, at in words.items() if at for word in (f"--{name.replace('_', '-')}", str(at))]


async def ready(thinker: Thinker) -> Thinker:
    """Check that the model can be asked, before anything starts; ask at a terminal for a budget that is missing.

    Raises:
        BadInput: it cannot be asked, or has no budget although it costs money.
    """
    try:
        await own_roles.check(["researcher"], words=thinker.flags())
    except BadInput as error:
        if "give --budget-usd" not in str(error) or not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise
        print(f"mesh: {error}", file=sys.stderr)
        print("How many dollars may it spend? ", end="", file=sys.stderr, flush=True)
        text = (await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)).strip().lstrip("$")
        try:
            usd = float(text)
        except ValueError:
            usd = 0.0
        if not 0 < usd < float("inf"):
            raise BadInput(f"the budget is {text[:40]!r}; use a number of dollars above 0") from None
        thinker = msgspec.structs.replace(thinker, budget_usd=usd)
        await own_roles.check(["researcher"], words=thinker.flags())
    return thinker


def check_can_propose(folder: Path, spec: ArenaSpec, *, explorers: int) -> None:
    """Refuse a swarm in which nobody can ever propose: explorers without a knob, and no model.

    Raises:
        BadInput: the editable files have no knob.
    """
    has_patterns = any(map(is_pattern, spec.artifact.editable))
    below = read_arena(folder, spec).files if has_patterns else ()
    editable = editable_paths(spec, below)
    try:
        files = {name: (folder / name).read_bytes() for name in editable if (folder / name).is_file()}
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be read: {error.strerror}; the arena needs it") from None
    if explorers and not knobs_of(files, editable, spec.knobs) and not can_rewrite(files, editable, spec.knobs):
        for name in (name for name in files if name.endswith(".json")):
            _check_json(name, files[name])
        code = [name for name in editable if language_of(name) and not name.endswith(".json")]
        cure = f", or {how_to_add_knobs(code)}"
        raise BadInput(
            f"arena {spec.name} has no knobs and no model is given, so nobody can propose anything; give --model "
            f"(with --api-base for a server of your own){cure if code else ''}"
        )


def _check_json(name: str, data: bytes) -> None:
    try:
        json.loads(data)
    except ValueError as error:
        raise BadInput(f"{name} is not valid JSON, so it has no knobs: {error}") from None


async def up(
    folder: Path,
    size: Size,
    *,
    device: str,
    nats: str | None,
    sync: str,
    sandbox: Literal["auto", "weak", "none"] = "auto",
    thinker: Thinker | None = None,
    coders: Coders = NO_CODERS,
    roles: Sequence[str] = (),
    data: Path | None = None,
    no_confirm: bool = False,
    options: Sequence[str] = (),
    quiet: bool = False,
    web: bool = False,
    gateway: bool = False,
    price: MachinePrice = UNKNOWN_PRICE,
    yes: bool = False,
) -> None:
    """Run the swarm of the arena in `folder`, with the user's own `roles` (`module:Class`) in it; see the module.

    `options` are those of the explorers and of the researcher, as KEY=VALUE. With `quiet` only the headline is shown.
    `price` is what this machine costs, and `yes` says that the user agrees to spend that.
    With `web` the live page is served too, with `gateway` the gateway that has the page; it goes on after the end of
    the swarm until this is cancelled.
    """
    served = web or gateway
    page = own_page.OwnPage(settings.home(), settings.value("nats", nats), gateway=gateway) if served else None
    async with anyio.create_task_group() as around:

        async def serve_page(bus: ArenaBus) -> None:
            if page:
                around.start_soon(page.keep, bus.arena)

        await _swarm(
            folder,
            size,
            device=device,
            nats=nats,
            sync=sync,
            sandbox=sandbox,
            thinker=thinker,
            coders=coders,
            roles=roles,
            data=data,
            no_confirm=no_confirm,
            options=options,
            quiet=quiet,
            on_projected=serve_page,
            price=price,
            yes=yes,
        )
        sys.stdout.flush()  # nothing follows while the page goes on
        if page and page.url:
            print(f"mesh: the {page.what} goes on until Ctrl-C: {page.url}", file=sys.stderr)
            await anyio.sleep_forever()
        around.cancel_scope.cancel()


async def _swarm(
    folder: Path,
    size: Size,
    *,
    device: str,
    nats: str | None,
    sync: str,
    sandbox: Literal["auto", "weak", "none"],
    thinker: Thinker | None,
    coders: Coders,
    roles: Sequence[str],
    data: Path | None,
    no_confirm: bool,
    options: Sequence[str],
    quiet: bool,
    on_projected: Callable[[ArenaBus], Awaitable[None]],
    price: MachinePrice,
    yes: bool,
) -> None:
    """Run the swarm until its end. `on_projected` is called when its projector answers."""
    home = settings.home()
    if member := member_of(settings.credentials(nats)):
        raise BadInput(
            f"mesh up runs a whole swarm, but the credentials are those of {member.name}, one member of the hub at "
            f"{settings.value('nats', nats)}: start one agent with `python -m mesh.agent`, or say `mesh context use "
            "--none` for a swarm of this machine alone"
        )
    _check_installed()
    if description := describe(folder):
        print(f"mesh: {description}", file=sys.stderr)
    spec = await anyio.to_thread.run_sync(arena.load_arena, folder)  # a broken arena is refused before anything starts
    if unset := [name for name in spec.environment.keys if not os.environ.get(name)]:
        raise BadInput(f"environment.keys: {unset[0]} is not set: set it before `mesh up`, or take it off the list")
    if spec.judge.key and not os.environ.get(spec.judge.key):
        raise BadInput(f"judge.key: {spec.judge.key} is not set: set it before `mesh up`")
    if device == "cuda":
        survey(device, size.slots)
    await own_roles.check(roles)
    coding: list[str] = []
    if coders.commands:
        coding, options = split_options(options)
        await coders.check(coding, sandbox)
    if thinker:
        thinking = [each for each in options if each.partition("=")[0] in RESEARCHER_OPTIONS]
        options = [each for each in options if each not in thinking]
        model_parameters(dict(each.split("=", 1) for each in thinking if "=" in each))
    if options and not size.explorers:
        raise BadInput("--option sets options of explorers, but --explorers is 0: leave one of them out")
    if options:
        await own_roles.check(["explorer"], options)
    if thinker:
        thinker = await ready(thinker)
    elif not nats and not roles and not coders.commands:
        check_can_propose(folder, spec, explorers=size.explorers)
    async with AsyncExitStack() as stack:
        credentials = settings.credentials(nats)
        nats = settings.value("nats", nats)
        embeds = not nats
        if not nats:
            settings.make_home(home)
            nats = (await stack.enter_async_context(embedded(settings.server_dir(home), sync=sync))).url
        hub = await stack.enter_async_context(connect(nats, name="mesh-up", outage_s=600, credentials=credentials))
        bus, opened = await open_arena(hub, folder, home=home, exact=no_confirm, data=data, price_of=judge_price)
        name = opened.spec.name
        follower = Follower(bus, snapshot=settings.snapshot_file(home, name))
        await follower.catch_up()
        if price != UNKNOWN_PRICE or limit_usd(follower.board) is not None:
            machine = await anyio.to_thread.run_sync(priced_machine, price, home, device, size.slots)
            await agree_on_cost(follower.board, "worker", machine, yes=yes)
        show = view_of(size.minutes, quiet=quiet)
        print(f"mesh: arena {name} version {opened.version} on {hub.link.url}, home {home}", file=sys.stderr)
        if no_confirm:
            print(f"mesh: {exactly(opened.spec)}", file=sys.stderr)
        if sync != "always":
            print(f"mesh: --sync is {sync}: a power cut may lose the facts since the last sync", file=sys.stderr)
        common = ["--home", str(home)]
        env = {**os.environ, "MESH_NATS": nats, "MESH_PARENT": "stdin", "MESH_CREDENTIALS": str(credentials or "")}
        env["PYTHONPATH"] = outside(folder, env.get("PYTHONPATH", ""))
        agent = [*PYTHON, "mesh.agent"]
        worker = [*PYTHON, "gpu_worker", "--name", "worker", "--arena", name, "--device", device, "--now", *common]
        commands = {
            "projector": [*PYTHON, "analytics", *common],
            "curator": [*agent, "curator", "--name", "curator", "--arena", name, *common],
            "critic": [*agent, "critic", "--name", "critic", "--arena", name, *common],
            "worker": [*worker, *(["--slots", str(size.slots)] if size.slots else []), *SANDBOX_FLAGS[sandbox]],
        }
        commands["worker"] += price.flags()
        here = ["--arena", name, *common]
        if size.explorers:
            commands["explorer"] = [*agent, "explorer", "--name", "explorer", "--count", str(size.explorers), *here]
            commands["explorer"] += own_roles.flags(options)
        if thinker:
            commands["researcher"] = [
                *agent,
                "researcher",
                "--name",
                "researcher",
                *thinker.flags(),
                *own_roles.flags(thinking),
                *here,
            ]
        own = own_roles.commands(roles, here, commands)
        own |= coders.children(coding, sandbox, here, commands | own)
        commands |= own
        first = follower.board.seq
        children = Children(home, env)
        propose = [child for child in commands if child not in ("projector", "curator", "critic", "worker")]
        needed = [group for group in (["worker"], ["curator"], propose) if group]

        async def until_closed() -> None:
            await follower.until(lambda board: board.closed is not None)
            tasks.cancel_scope.cancel()

        async def until_reached() -> None:
            while not is_reached(follower.board, size.goal):
                await anyio.sleep(_LOOK_EVERY_S)
            tasks.cancel_scope.cancel()

        async def when_projected() -> None:
            while await projected(bus) is None:
                await anyio.sleep(_LOOK_EVERY_S)
            await on_projected(bus)

        async def end_when_broken() -> None:
            await broken_baseline.until_broken(follower, first, alone=embeds)
            tasks.cancel_scope.cancel()

        try:
            async with anyio.create_task_group() as tasks:
                for child, command in commands.items():
                    scored = (*opened.spec.environment.keys, *filter(None, [opened.spec.judge.key]))
                    named = scored if child == "worker" else child in {"researcher", *own}
                    tasks.start_soon(children.keep, child, command, named)
                tasks.start_soon(follower.follow, show.take)
                tasks.start_soon(show.draw, follower)
                tasks.start_soon(until_closed)
                tasks.start_soon(until_reached)
                tasks.start_soon(when_projected)
                tasks.start_soon(end_when_broken)
                with anyio.move_on_after(size.minutes * 60 if size.minutes else None):
                    await children.until_useless(needed, alone=embeds)
                tasks.cancel_scope.cancel()
        finally:
            show.close()
            follower.save()
            summary(
                follower.board,
                first,
                folder,
                data,
                elapsed_s=show.elapsed_s,
                flaws=show.flaws,
                goal=size.goal,
                options=[*coders.flags(), *(thinker.flags()[: 2 if coders.commands else None] if thinker else ())],
            )
            for child, why in children.down.items():
                print(f"mesh: {child} could not run: {why}", file=sys.stderr)
        wanted = [*own, *(["researcher"] if thinker else [])]
        children.check([*needed, *([child] for child in wanted)])
        broken_baseline.check_baseline(follower.board, first)


def _check_installed() -> None:
    """Refuse to start without the packages that the children need."""
    own_packages.check_own()
    if importlib.util.find_spec("duckdb") is None:
        raise BadInput("mesh up needs duckdb, which is not installed: pip install 'mesh-swarm[up]'")


def thinker_of(
    model: str | None, api_base: str | None, budget_usd: float | None, budget_tokens: int | None
) -> Thinker | None:
    """Return the model to ask, None without --model.

    Raises:
        BadInput: an option of the model is given without --model.
    """
    rest = {"--api-base": api_base, "--budget-usd": budget_usd, "--budget-tokens": budget_tokens}
    if model is None and (given := [flag for flag, value in rest.items() if value is not None]):
        raise BadInput(f"{given[0]} needs a model; add --model provider/name")
    return Thinker(model, api_base, budget_usd, budget_tokens) if model else None


def minutes_of(minutes: float | None, hours: float | None) -> float | None:
    """Return how long the swarm runs in minutes, None for no end.

    Raises:
        BadInput: both options are given, or one is not above 0.
    """
    if minutes is not None and hours is not None:
        raise BadInput("--minutes and --hours both say when to stop; give one of them")
    for flag, value in (("--minutes", minutes), ("--hours", hours)):
        if value is not None and not 0 < value < math.inf:
            raise BadInput(f"{flag} is {value:g}; use a number above 0")
    return minutes if hours is None else hours * 60
