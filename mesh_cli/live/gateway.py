"""Composes the gateway with the pages of its arenas, and reaches the members of a hub."""

import datetime as dt
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
import msgspec

from mesh import settings
from mesh.errors import BadInput, UnknownName
from mesh.show_metrics import showing_metrics
from mesh.text import printable
from mesh.wire import HUB_LOG
from mesh_cli.connect import reach_hub
from mesh_cli.live.gateway_metrics import GatewayMetrics, both
from mesh_cli.render.columns import Column, aligned, width_of_output

if TYPE_CHECKING:
    from gateway.http.arenas import ServedArena
    from gateway.members import MemberIndex, Members
    from mesh.accounts.hub_folder import HubFolder
    from mesh.bus import Hub
    from mesh_cli.live.gateway_pages import GatewayPages

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]*):(\d{1,5})")

_MEMBER_COLUMNS = [
    Column("name"),
    Column("role"),
    Column("state"),
    Column("arenas", rank=1),
    Column("owner", rank=2),
    Column("invitation", rank=3),
    Column("until (UTC)", rank=4),
]


async def serve_here(
    address: str,
    *,
    nats: str | None,
    arenas: Sequence[str] = (),
    is_open: bool | None = None,
    pending: int = 20,
    outside: str = "",
    tls: tuple[Path, Path] | None = None,
    hosts: Sequence[str] = (),
    hooks: Path | None = None,
    allow_private: bool = False,
    metrics: str = "",
    credentials: Path | None = None,
    joining: "HubFolder | None" = None,
    lifetime_s: float | None = None,
    with_members: "Callable[[Members], Coroutine[Any, Any, None]] | None" = None,
    on_ready: Callable[[str], None],
) -> None:
    """Serve the gateway, and where everybody may read the pages of its arenas, until cancelled.

    Args:
        address: host and port to listen on.
        nats: address of the server, None for the setting.
        arenas: the arenas to serve; none: all.
        is_open: whether strangers may register; None: only on loopback.
        pending: proposals of one member that may wait for a score.
        outside: the address by which agents reach the gateway, such as that of a proxy; "": as they say.
        tls: files with the certificate and its key.
        hosts: more host names that requests may name.
        hooks: file of webhooks, None for none.
        allow_private: whether webhooks may reach addresses that are not public, and those without TLS.
        metrics: where to serve metrics, "" for nowhere.
        credentials: file with credentials for the server, None for that of the settings.
        joining: the keys of the hub, with which machines join; None where they cannot join here.
        lifetime_s: seconds for which the credentials hold that they get; None: a day.
        with_members: runs beside the members of the hub.
        on_ready: called with the gateway's address when it answers.

    Raises:
        BadInput: the address, a certificate, a webhook or an arena cannot be used.
        BusUnavailable: the log cannot be reached.
    """
    try:
        from gateway.http.serve import serve_gateway
        from gateway.http.silent_members import report_silent_members
        from gateway.webhooks.hooks_file import read_hooks
        from mesh.accounts.issuing import LIFETIME_S, outdated_accounts
        from mesh.web.access import LOOPBACK, is_loopback
        from mesh.web.listening import listen

        if hooks:
            from gateway.webhooks.sending import sends_to
    except ModuleNotFoundError as missing:
        raise BadInput(
            f"mesh gateway needs {missing.name}, which is not installed: pip install 'mesh-swarm[gateway]'"
        ) from None

    host, port = parsed_address(address)
    alone = is_loopback(host)
    free = alone if is_open is None else is_open
    for file in tls or ():
        if not file.is_file():
            raise BadInput(f"{file} is not a file; --tls takes a certificate and its key, in PEM")
    found = read_hooks(hooks, http=allow_private) if hooks else ()
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(listen(host.strip("[]"), port))
        shown = f"{host}:{listening.getsockname()[1]}"
        url = f"{'https' if tls else 'http'}://{shown}"
        hub = await stack.enter_async_context(reach_hub(nats, endless=True, credentials=credentials))
        names = [name for name in await hub.arenas() if not arenas or name in arenas]
        if lost := [name for name in arenas if name not in names]:
            raise UnknownName(f"there is no arena {lost[0]!r} here; mesh open FOLDER opens one")
        named = [_host_of(outside)] if outside else []
        accepted = (*LOOPBACK, host, *([] if alone else [socket.gethostname()]), *hosts, *named)
        pages = await stack.enter_async_context(_pages(hub, arenas, accepted, numbers=not alone, is_open=free))
        if pages and free and len(names) == 1:
            await pages.open_root(names[0])
        if free and not alone:
            print(f"mesh: everybody who can reach {url} may register, post and read (--open)", file=sys.stderr)
        beside: Callable[[ServedArena], Coroutine[Any, Any, None]] | None = (
            sends_to(found, settings.home() / "webhooks", _say, private=allow_private) if found else None
        )
        if joining and not outdated_accounts(joining):  # else the server hears no answer by name
            beside = both(beside, report_silent_members)
        if metrics:
            shown_of_all = GatewayMetrics(hub)
            beside = both(beside, shown_of_all.beside)
            showing = showing_metrics(metrics, shown_of_all.collect, shown_of_all.trouble, _say)
            await stack.enter_async_context(showing)
        await serve_gateway(
            hub,
            listening,
            home=settings.home(),
            arenas=arenas,
            is_open=free,
            pending=pending,
            address=outside,
            hosts=accepted,
            numbers=not alone,
            tls=tls,
            around=pages.around if pages else None,
            beside=beside,
            joining=joining,
            lifetime_s=lifetime_s or LIFETIME_S,
            with_members=with_members,
            on_ready=lambda: on_ready(url),
            on_end=pages.close if pages else None,
        )


@asynccontextmanager
async def _pages(
    hub: "Hub", arenas: Sequence[str], hosts: Sequence[str], *, numbers: bool, is_open: bool
) -> "AsyncIterator[GatewayPages | None]":
    """Keep the pages while the block runs; None where what they need is not installed."""
    try:
        from mesh_cli.live.gateway_pages import serving_pages
    except ModuleNotFoundError as missing:
        _say(f"without {missing.name} there is no page beside the gateway")
        yield None
        return
    home = settings.home()
    async with serving_pages(hub, home, only=arenas, hosts=hosts, numbers=numbers, is_open=is_open) as pages:
        yield pages


def _say(words: str) -> None:
    print(f"mesh: {words}", file=sys.stderr, flush=True)


def parsed_address(address: str) -> tuple[str, int]:
    """Return host and port of an address such as `127.0.0.1:8080`, `[::1]:8080` or `:8080`.

    Raises:
        BadInput: it is not one.
    """
    found = _ADDRESS.fullmatch(address.strip())
    if not found or int(found[2]) > 65535:
        raise BadInput(f"--listen is {address[:80]!r}; use HOST:PORT, such as 127.0.0.1:8080")
    return found[1] or "0.0.0.0", int(found[2])


def _host_of(address: str) -> str:
    """Return the host of an address.

    Raises:
        BadInput: it is not an address of a web server.
    """
    try:
        found = urlsplit(address)
        host = found.hostname if found.scheme in ("http", "https") and not found.query else ""
    except ValueError:
        host = ""
    if not host:
        raise BadInput(f"--address is {address[:80]!r}; use one such as https://hub.example.org")
    return f"[{host}]" if ":" in host else host


@asynccontextmanager
async def reach_members(
    nats: str | None, arenas: Sequence[str] = (), *, credentials: Path | None = None
) -> "AsyncIterator[Members]":
    """Open the members of the hub; their log is made if there is none.

    Args:
        nats: address of the server, None for the setting.
        arenas: arenas that have to exist.
        credentials: file with credentials for the server, None for that of the settings.

    Raises:
        UnknownName: one of the arenas does not exist.
        BusUnavailable: no server answers.
    """
    from gateway.members import Members

    async with reach_hub(nats, credentials=credentials) as hub:
        known = await hub.arenas()
        if lost := [name for name in arenas if name not in known]:
            raise UnknownName(f"there is no arena {lost[0]!r} here (there are: {', '.join(known) or 'none yet'})")
        members = Members(await hub.arena(HUB_LOG, create=True))
        await members.reader.catch_up()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(members.reader.follow)
            yield members
            tasks.cancel_scope.cancel()


def members_text(index: "MemberIndex", *, json: bool) -> str:
    """Return invitations and members as JSON, or as a table as wide as the output."""
    rows = _member_rows(index)
    if json:
        return msgspec.json.encode(rows).decode()
    return "\n".join(aligned(_MEMBER_COLUMNS, [_member_cells(row) for row in rows], width_of_output()))


def _member_rows(index: "MemberIndex") -> list[dict[str, Any]]:
    """Return a row for each invitation and member, the oldest first."""
    rows = [
        {
            "name": each.invite,
            "role": each.role,
            "state": index.ended.get(each.invite)
            or f"invitation{_ended(each.until_s)}, used {index.used.get(each.invite, 0)} of {each.uses}",
            "arenas": list(each.arenas),
            "owner": each.owner,
            "invitation": "",
            "until_s": each.until_s,
        }
        for each in index.invitations.values()
    ]
    return rows + [
        {
            "name": each.admitted.shown_as,
            "role": each.admitted.role,
            "state": each.revoked or f"member{_ended(each.admitted.until_s)}",
            "arenas": list(each.admitted.arenas),
            "owner": each.admitted.owner,
            "invitation": each.admitted.invite,
            "until_s": each.admitted.until_s,
        }
        for each in index.members.values()
    ]


def _ended(until_s: float) -> str:
    """Return the word for a time that is past; 0 never is."""
    return " that has ended" if until_s and until_s < time.time() else ""


def _member_cells(row: dict[str, Any]) -> list[str]:
    """Return a row as the cells of `_MEMBER_COLUMNS`."""
    until = dt.datetime.fromtimestamp(row["until_s"], dt.UTC).strftime("%Y-%m-%d %H:%M") if row["until_s"] else ""
    names = [row[name] for name in ("name", "role", "state")]
    cells = [*names, ", ".join(row["arenas"]) or "all", row["owner"], row["invitation"], until]
    return [printable(cell) for cell in cells]
