"""`mesh join`, `mesh renew`: this machine as a member of a hub."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from mesh_cli.app import app
from mesh_cli.exit import ExitCode, run


@app.command
def join(
    invitation: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="The invitation, as `mesh hub invite` printed it; - reads it from standard input.",
        ),
    ],
    *,
    name: Annotated[
        str | None, Parameter(help="Be known by this name; default: that of the machine, and six digits.")
    ] = None,
    arena: Annotated[
        str | None, Parameter(help="Take part in this arena, if the invitation is for several.", show_default=False)
    ] = None,
    slots_per_gpu: Annotated[
        int | None, Parameter(help="Run this many trials at a time on one GPU.", validator=Number(gte=1))
    ] = None,
    slots: Annotated[int | None, Parameter(help="Run this many trials at a time.", validator=Number(gte=1))] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Parameter(help="Where to run trials; auto needs a GPU, so say cpu to give cores."),
    ] = "auto",
    idle_stop: Annotated[
        str | None, Parameter(help="End after so long without a run, such as 10m; 0 never does.", show_default=False)
    ] = None,
    price: Annotated[
        float | None, Parameter(help="What this machine costs, in dollars per hour.", validator=Number(gte=0))
    ] = None,
    provider: Annotated[
        str | None,
        Parameter(help="Who rents this machine out; with --instance the price is known.", show_default=False),
    ] = None,
    instance: Annotated[
        str | None,
        Parameter(help="The provider's name for this machine, as `mesh prices` has it.", show_default=False),
    ] = None,
    spot: Annotated[
        bool, Parameter(negative="", help="Watch for the notice that a cloud takes this machine away.")
    ] = False,
    metrics: Annotated[
        str | None, Parameter(help="Serve metrics of the worker on this port or address.", show_default=False)
    ] = None,
    log_json: Annotated[bool, Parameter(negative="", help="Write the worker's log as JSON.")] = False,
    sandbox: Annotated[Literal["auto", "weak", "none"], Parameter(help="How strictly to sandbox trials.")] = "auto",
    yes: Annotated[bool, Parameter(negative="", help="Agree to the cost without being asked.")] = False,
) -> int:
    """Join a hub with an invitation: a worker then runs trials until Ctrl-C, others get a context for their commands.

    The private key of this machine never leaves it. Said again with the same --name, it takes up what was cut off.

    Example: mesh join mesh1_c2VjcmV0IHNlY3JldCBz... --slots-per-gpu 2
    """
    from mesh.machine_price import price_words
    from mesh_cli.hub import joining
    from mesh_cli.hub.hidden_argument import hide_argument

    weaker = {"auto": None, "weak": "--allow-weak-sandbox", "none": "--no-sandbox"}[sandbox]
    wish = joining.JoinWish(
        name=name,
        arena=arena,
        device=device,
        slots=slots,
        slots_per_gpu=slots_per_gpu,
        price=price_words(price, provider or "", instance or "", spot=spot),
        yes=yes,
        more={
            "--idle-stop": idle_stop,
            "--spot": "" if spot else None,
            "--metrics": metrics,
            "--log-json": "" if log_json else None,
            **({weaker: ""} if weaker else {}),
        },
    )
    if invitation == "-":
        invitation = sys.stdin.readline()
    else:
        hide_argument(invitation)
    worker = joining.join_hub(invitation, wish)
    return joining.be_worker(worker) if worker else ExitCode.OK


@app.command
def renew(
    credentials: Annotated[
        Path | None,
        Parameter(help="File with the credentials; default: those of the context in use.", show_default=False),
    ] = None,
) -> int:
    """Renew the credentials of a member now; whatever runs with them renews them by itself at half of their life.

    Example: mesh renew
    """

    async def work() -> None:
        import anyio.to_thread

        from mesh import settings
        from mesh.errors import BadInput
        from mesh.membership import renewed

        file = credentials or settings.credentials()
        if file is None:
            raise BadInput("no credentials are in use: name their file, or the context of a member (MESH_CONTEXT)")
        membership = await anyio.to_thread.run_sync(renewed, file)
        print(f"mesh: the credentials of {membership.name} are renewed", file=sys.stderr)

    return run(work)
