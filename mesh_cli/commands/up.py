"""`mesh up`: a whole swarm on this machine."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import (
    Data,
    Evaluator,
    Folder,
    MetricDirection,
    MetricName,
    Nats,
    NoConfirm,
    RunSeconds,
    TaskConfig,
    TaskPython,
    app,
)
from mesh_cli.exit import run


@app.command
def up(
    folder: Folder = Path(),
    evaluator: Evaluator = None,
    *,
    config: TaskConfig = None,
    metric: MetricName = None,
    direction: MetricDirection = None,
    run_seconds: RunSeconds = None,
    environment: TaskPython = None,
    minutes: Annotated[float | None, Parameter(help="Stop after this many minutes.")] = None,
    hours: Annotated[float | None, Parameter(help="Stop after this many hours.")] = None,
    goal: Annotated[
        float | None,
        Parameter(help="Stop when the champion's mean score is this good or better.", allow_leading_hyphen=True),
    ] = None,
    quiet: Annotated[bool, Parameter(negative="", help="Show the headline once a minute, and no entries.")] = False,
    web: Annotated[
        bool,
        Parameter(negative="", help="Serve the live page too, also after the end of the swarm, until Ctrl-C."),
    ] = False,
    gateway: Annotated[
        bool,
        Parameter(
            negative="",
            help="Let agents of others take part over HTTP (`mesh gateway`, with the live page), also after the end "
            "of the swarm, until Ctrl-C.",
        ),
    ] = False,
    explorers: Annotated[int, Parameter(help="Start this many explorers.", validator=Number(gte=0))] = 3,
    slots: Annotated[
        int | None,
        Parameter(
            help="Run this many trials at a time; default: as many as fit on this machine.", validator=Number(gte=1)
        ),
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], Parameter(help="Where to run trials; auto uses a GPU if there is one.")
    ] = "auto",
    nats: Nats = None,
    sync: Annotated[
        str, Parameter(help="When the server writes to disk: always, or at an interval such as 1s.")
    ] = "always",
    sandbox: Annotated[Literal["auto", "weak", "none"], Parameter(help="How strictly to sandbox trials.")] = "auto",
    model: Annotated[str | None, Parameter(help="Start a researcher that asks this model (provider/name).")] = None,
    api_base: Annotated[
        str | None, Parameter(help="Address of a model server that speaks the API of the provider.")
    ] = None,
    budget_usd: Annotated[
        float | None,
        Parameter(
            help="Let the researcher, and each coding agent, spend at most this many dollars.", validator=Number(gt=0)
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        Parameter(
            help="Let the researcher, and each coding agent, use at most this many tokens.", validator=Number(gt=0)
        ),
    ] = None,
    coder: Annotated[
        list[str] | None,
        Parameter(
            help="Let a coding agent of yours work too: claude, codex, gemini, opencode, aider, openclaw, each also "
            "with its model (claude/opus), or a command line with {prompt} in it. May be repeated."
        ),
    ] = None,
    budget_calls: Annotated[
        int | None, Parameter(help="Let each coding agent run at most this many times.", validator=Number(gt=0))
    ] = None,
    role: Annotated[
        list[str] | None,
        Parameter(help="Run a role of your own too: module:Class, found from this folder. May be repeated."),
    ] = None,
    option: Annotated[
        list[str] | None,
        Parameter(
            help="Set an option of the explorers, with --model of the researcher, or with --coder of coding agents: "
            "KEY=VALUE, such as sampler=random, temperature=0.7 or minutes=30. May be repeated."
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None,
        Parameter(
            name=["--price-per-hour", "--price"],
            help="What this machine costs, in dollars per hour, 0 for your own; every run then carries its cost.",
            validator=Number(gte=0),
        ),
    ] = None,
    provider: Annotated[
        str, Parameter(help="Who rents this machine out; with --instance the price is known.", show_default=False)
    ] = "",
    instance: Annotated[
        str,
        Parameter(help="The provider's name for this machine, as `mesh prices` has it.", show_default=False),
    ] = "",
    yes: Annotated[bool, Parameter(negative="", help="Do not ask whether to spend what the machine costs.")] = False,
    data: Data = None,
    no_confirm: NoConfirm = False,
) -> int:
    """Run a whole swarm on this machine until Ctrl-C and show it live. The next `mesh up` continues from there.

    Example: mesh up digits --minutes 1
    """
    import anyio.to_thread

    from mesh.machine_price import price_words
    from mesh_cli.arenas import loop_wish, told_folder
    from mesh_cli.live import up as swarm
    from mesh_cli.live.coders import coders_of
    from mesh_cli.setup.own_environment import agree_on_environment

    async def work() -> None:
        size = swarm.Size(swarm.minutes_of(minutes, hours), explorers, slots, goal)
        coders = coders_of(coder or (), budget_usd, budget_tokens, budget_calls)
        price = price_words(price_per_hour, provider, instance)
        has_budgets = bool(model) or not coders.commands
        thinker = swarm.thinker_of(model, api_base, *((budget_usd, budget_tokens) if has_budgets else (None, None)))
        found = told_folder(folder, evaluator, config, loop_wish(metric, direction, run_seconds))
        await anyio.to_thread.run_sync(agree_on_environment, found, environment, abandon_on_cancel=True)
        await swarm.up(
            found,
            size,
            device=device,
            nats=nats,
            sync=sync,
            sandbox=sandbox,
            thinker=thinker,
            coders=coders,
            roles=role or (),
            data=data,
            no_confirm=no_confirm,
            options=option or (),
            quiet=quiet,
            web=web,
            gateway=gateway,
            price=price,
            yes=yes,
        )

    return run(work, endless=True)
