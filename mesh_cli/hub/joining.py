"""`mesh join`: a machine redeems an invitation, and becomes a worker or another member."""

import math
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mesh import settings
from mesh.config import Contexts
from mesh.errors import BadInput
from mesh.invitation import read_invitation
from mesh.membership import HubMembership, Offer, offer_of, redeem
from mesh.safe_path import PYTHON
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
    price_per_hour_usd: float | None = None
    yes: bool = False
    more: Mapping[str, str] = {}


def members_dir() -> Path:
    """Return the folder with the credentials that this user got from hubs."""
    return settings.config_dir() / "members"


class JoinedWorker(msgspec.Struct, frozen=True):
    """A worker that this machine now is: its command, and its credentials."""

    command: tuple[str, ...]
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
    if (price := wish.price_per_hour_usd) is not None and not (math.isfinite(price) and price >= 0):
        raise BadInput(f"--price is {price:g}; use dollars per hour, 0 or more")
    offer, ca = offer_of(invitation, name, members_dir())
    arena = _arena_of(offer, wish.arena)
    if offer.role == "worker":
        _look_at_box(wish)
        _agree_on_cost(offer, arena, wish)
    membership, file = redeem(invitation, ca, name, members_dir())
    if membership.role != "worker":
        _say_next(membership, _keep_context(membership, file, arena))
        return None
    try:
        _keep_context(membership, file, arena)
    except BadInput as error:  # a worker does without
        _say(str(error))
    _say(f"{membership.name} joined {membership.place} as a worker of arena {arena}")
    return JoinedWorker(tuple(_worker_command(membership, arena, wish)), file)


def become_worker(worker: "JoinedWorker") -> None:
    """Become the worker: this process is replaced."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(worker.command[0], list(worker.command), {**os.environ, "MESH_CREDENTIALS": str(worker.credentials)})


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


def _look_at_box(wish: JoinWish) -> None:
    """Print what this machine offers, a line for each finding.

    Raises:
        BadInput: it has no GPU and nobody asked for the CPU, or a number is wrong.
    """
    findings, has_gpu = examine_box(wish.device, wish.slots, wish.slots_per_gpu or 1)
    for finding in findings:
        cure = f"; cure: {printable(finding.cure)}" if finding.cure and finding.state != "ok" else ""
        print(f"{finding.state:<5} {finding.name:<12} {printable(finding.what)}{cure}", file=sys.stderr)
    if not has_gpu and wish.device == "auto":
        raise BadInput("this machine has no GPU that nvidia-smi shows; give --device cpu to take runs on its cores")


def _agree_on_cost(offer: Offer, arena: str, wish: JoinWish) -> None:
    """Say what the machine costs, and ask at a terminal.

    Raises:
        BadInput: it costs money and nobody agreed.
    """
    price, waiting = wish.price_per_hour_usd, offer.waiting.get(arena, 0)
    runs = f"{waiting} run{'' if waiting == 1 else 's'} wait in arena {arena}"
    if price is None:
        _say(f"the price of this machine is unknown (--price); {runs}")
        return
    _say(f"about ${price:.2f} per hour; {runs}")
    if not price or wish.yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadInput(f"this machine costs ${price:.2f} per hour and nobody can be asked; give --yes to agree")
    print("Join? [Y/n] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("", "y", "yes"):
        raise BadInput("nothing was joined, and the invitation was not used")


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


def _worker_command(membership: HubMembership, arena: str, wish: JoinWish) -> list[str]:
    words = [*PYTHON, "gpu_worker", "--arena", arena, "--nats", membership.nats, "--name", membership.name]
    words += ["--device", wish.device]
    numbers = {
        "--slots": wish.slots,
        "--slots-per-gpu": wish.slots_per_gpu,
        "--price-per-hour": wish.price_per_hour_usd,
        **wish.more,
    }
    for option, value in numbers.items():
        if value is not None:
            words += [option, *([str(value)] if value != "" else [])]
    return words


def _say(words: str) -> None:
    print(f"mesh: {words}", file=sys.stderr, flush=True)
