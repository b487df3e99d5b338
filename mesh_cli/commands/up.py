"""`mesh up`: a whole swarm on this machine."""

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import Folder, Nats, NoConfirm, app
from mesh_cli.exit import run


@app.command
def up(
    folder: Folder,
    *,
    minutes: Annotated[float | None, Parameter(help="End after so long.")] = None,
    explorers: Annotated[int, Parameter(help="How many explorers.", validator=Number(gte=0))] = 3,
    slots: Annotated[
        int | None, Parameter(help="Trials at a time; default: what fits.", validator=Number(gte=1))
    ] = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    nats: Nats = None,
    sync: Annotated[str, Parameter(help="When the embedded server syncs: always, or every so often (1s).")] = "always",
    sandbox: Annotated[Literal["auto", "weak", "none"], Parameter(help="What may hold trials.")] = "auto",
    model: Annotated[str | None, Parameter(help="A model (provider/name) that a researcher asks.")] = None,
    api_base: Annotated[str | None, Parameter(help="A server of its own that speaks as the provider does.")] = None,
    budget_usd: Annotated[float | None, Parameter(help="Dollars it may spend in all.", validator=Number(gt=0))] = None,
    budget_tokens: Annotated[int | None, Parameter(help="Tokens it may use in all.", validator=Number(gt=0))] = None,
    no_confirm: NoConfirm = False,
) -> int:
    """Run a whole swarm on this machine until Ctrl-C, shown live; the next `mesh up` goes on where it ended.

    Example: mesh up digits --minutes 1
    """
    from mesh_cli.arenas import told_folder
    from mesh_cli.live import up as swarm

    async def work() -> None:
        swarm.check_minutes(minutes)
        size = swarm.Size(minutes, explorers, slots)
        thinker = swarm.thinker_of(model, api_base, budget_usd, budget_tokens)
        await swarm.up(
            told_folder(folder),
            size,
            device=device,
            nats=nats,
            sync=sync,
            sandbox=sandbox,
            thinker=thinker,
            no_confirm=no_confirm,
        )

    return run(work, endless=True)
