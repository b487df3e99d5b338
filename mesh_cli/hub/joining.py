"""`mesh join`: a machine redeems an invitation, and becomes a worker or another member."""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
import msgspec

from gpu_worker.machine import Machine, survey
from mesh import settings
from mesh.config import Contexts
from mesh.errors import BadInput
from mesh.invitation import read_invitation
from mesh.machine_price import UNKNOWN_PRICE, MachinePrice, from_table
from mesh.membership import HubMembership, Offer, offer_of, redeem
from mesh.text import printable
from mesh.wire import check_token
from mesh_cli.setup.doctor import examine_box

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class JoinWish(msgspec.Struct, frozen=True):
    """How a machine joins; None leaves the default of the worker."""

    name: str | None = None
    arena: str | None = None
    device: str = "auto"
    slots: int | None = None
    slots_per_gpu: int | None = None
    price: MachinePrice = UNKNOWN_PRICE
    yes: bool = False
    more: Mapping[str, str | None] = {}


def members_dir() -> Path:
    """Return the folder with the credentials that this user got from hubs."""
    return settings.config_dir() / "members"


class JoinedWorker(msgspec.Struct, frozen=True):
    """A worker that this machine now is: its options, and its credentials."""

    words: tuple[str, ...]
    credentials: Path


def join_hub(text: str, wish: JoinWish) -> JoinedWorker | None:
    """Join; return the worker that this machine now is, None for another role.

    Nothing is used up before the machine was looked at, and a cost agreed to.

    Raises:
        BadInput: the invitation, a value or this machine cannot be used.
        BusRefused: the hub refuses.
        BusUnavailable: no hub answers.
    """
    invitation = read_invitation(text)
    name = _checked_name(wish.name) if wish.name else _own_name()
    offer, ca = offer_of(invitation, name, members_dir())
    arena = _arena_of(offer, wish.arena)
    if offer.role != "worker" and (idle := _workers_options(wish)):
        raise BadInput(
            f"{', '.join(idle)}: only a worker has that, and the invitation is for {_with_article(offer.role)}"
        )
    if offer.role == "worker":
        machine = _examined(wish)
        price = _price_of(machine, wish.price)
        if price.per_hour_usd is not None:
            offer, ca = offer_of(
                invitation, name, members_dir(), price_per_hour_usd=price.per_hour_usd, slots=len(machine.slots)
            )
        if unpaid := offer.unpaid.get(arena):
            raise BadInput(unpaid)
        if price.per_hour_usd:
            from mesh_cli.live.spending import ask_to_spend

            anyio.run(partial(ask_to_spend, offer.costs.get(arena, f"about ${price.per_hour_usd:.2f}/h"), yes=wish.yes))
    membership, file = redeem(invitation, ca, name, members_dir())
    if membership.role != "worker":
        _say_next(membership, _keep_context(membership, file, arena))
        return None
    try:
        _keep_context(membership, file, arena)
    except BadInput as error:  # a worker does without
        _say(str(error))
    _say(f"{membership.name} joined {membership.place} as a worker of arena {arena}")
    return JoinedWorker(tuple(_worker_words(membership, arena, wish)), file)


def be_worker(worker: JoinedWorker) -> int:
    """Be the worker until it ends, in this process, which has most of what it needs loaded; return its exit code."""
    from gpu_worker.__main__ import main

    os.environ["MESH_CREDENTIALS"] = str(worker.credentials)
    sys.argv = ["gpu_worker", *worker.words]
    return main()


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(f"--name is {name[:70]!r}; use 1 to 63 letters, digits, '_' and '-', a letter or digit first")
    return name


def _own_name() -> str:
    """Return a name of this machine that no other one has: several may share an invitation."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", settings.host().partition(".")[0]).strip("-")[:40] or "box"
    return f"{host}-x{secrets.token_hex(3)}"


def _arena_of(offer: Offer, wanted: str | None) -> str:
    if wanted is None:
        return offer.arenas[0]
    if check_token("arena", wanted) not in offer.arenas:
        raise BadInput(f"--arena is {wanted}; this invitation is for {', '.join(offer.arenas)}")
    return wanted


def _workers_options(wish: JoinWish) -> list[str]:
    """Return the options that only a worker obeys."""
    device = wish.device if wish.device != "auto" else None
    named = {"--device": device, "--slots": wish.slots, "--slots-per-gpu": wish.slots_per_gpu, **wish.more}
    words = ["--price" if word == "--price-per-hour" else word for word in wish.price.flags() if word.startswith("--")]
    return list(dict.fromkeys([*(option for option, value in named.items() if value is not None), *words]))


def _examined(wish: JoinWish) -> Machine:
    """Return this machine, and print what it offers, a line for each finding.

    Raises:
        BadInput: it has no GPU and nobody asked for the CPU, or a number is wrong.
    """
    machine = survey(wish.device, wish.slots, wish.slots_per_gpu or 1)
    for finding in examine_box(machine):
        cure = f"; cure: {printable(finding.cure)}" if finding.cure and finding.state != "ok" else ""
        print(f"{finding.state:<5} {finding.name:<12} {printable(finding.what)}{cure}", file=sys.stderr)
    if wish.device == "auto" and not machine.worker_class.startswith("cuda"):
        raise BadInput("this machine has no GPU that nvidia-smi shows; give --device cpu to take runs on its cores")
    return machine


def _price_of(machine: Machine, price: MachinePrice) -> MachinePrice:
    """Return what this machine costs, by what was said or by the table of prices.

    Raises:
        BadInput: the table has no such machine.
    """
    gpus = len({slot.cuda_index for slot in machine.slots})
    found = from_table(price, settings.home(), device=machine.device, memory_mb=machine.memory_mb, gpus=gpus)
    if found.per_hour_usd is None:
        _say("the price of this machine is unknown: --price USD says it, 0 if it costs nothing")
    return found


def _keep_context(membership: HubMembership, file: Path, arena: str) -> str:
    """Keep server, arena and credentials under the member's name; it is used from now on where no context is."""
    kept = settings.contexts()
    place = {"nats": membership.nats, "arena": arena, "credentials": str(file)}
    use = kept.use if kept.use in kept.named else ""
    if membership.role != "worker":
        use = use or membership.name
    settings.save_contexts(Contexts(use, {**kept.named, membership.name: place}))
    return membership.name if use == membership.name else ""


def _say_next(membership: HubMembership, context: str) -> None:
    name = membership.name
    _say(f"{name} joined {membership.place} as {_with_article(membership.role)} of arena {membership.arenas[0]}")
    if not context:
        _say(f"another context is in use: mesh context use {name} changes to this one")
    commands = {
        "agent": f"python -m mesh.agent explorer --name {name}",
        "curator": f"python -m mesh.agent curator --name {name}",
    }
    print("\n".join(filter(None, ["mesh status", commands.get(membership.role, "")])))


def _with_article(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"


def _worker_words(membership: HubMembership, arena: str, wish: JoinWish) -> list[str]:
    words = ["--arena", arena, "--nats", membership.nats, "--name", membership.name, "--device", wish.device]
    numbers = {
        "--slots": wish.slots,
        "--slots-per-gpu": wish.slots_per_gpu,
        **wish.more,
    }
    for option, value in numbers.items():
        if value is not None:
            words += [option, *([str(value)] if value != "" else [])]
    return [*words, *wish.price.flags()]


def _say(words: str) -> None:
    print(f"mesh: {words}", file=sys.stderr, flush=True)
