"""`mesh hub start`: the server of a hub, its door, and the warden, in one command."""

import re
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.hub_init import write_configs
from mesh.accounts.issuing import renew_accounts
from mesh.accounts.server_files import listens_on
from mesh.errors import BadInput, BusRefused, BusUnavailable, leaf
from mesh.hub_server import hub_server
from mesh.jetstream import connect
from mesh.jetstream.system import system_account
from mesh.server_config import start_within_s
from mesh_cli.live.gateway import serve_here

if TYPE_CHECKING:
    from gateway.members import Members

_GUARD_AGAIN_S = 1.0
"""Seconds after which those who guard a hub try again, where a file kept them from it."""


async def serve_hub(
    hub: HubFolder,
    *,
    listen: str | None,
    node: int = 0,
    lifetime_s: float | None = None,
    monitoring: str = "",
    metrics: str = "",
    on_ready: Callable[[str, str], None],
) -> None:
    """Run the server of a hub, its door and the warden until cancelled.

    Args:
        hub: the folder of the hub.
        listen: host and port of the door; None: the port of the hub's settings, on loopback if only that is named.
        node: which node of the hub this is; 0 where it has only one.
        lifetime_s: seconds for which the credentials of a member hold; None: a day.
        monitoring: host and port at which the server tells whoever asks what it does; "" for nowhere.
        metrics: where to serve metrics of all arenas; "" for nowhere.
        on_ready: called with the addresses of the log and of the door when both answer.

    Raises:
        BadInput: nats-server is missing, or the folder or the address cannot be used.
        BusUnavailable: the server does not start, or another one has its store.
    """
    _check_installed()
    config = hub.config_file(node)
    write = partial(_write_config, hub, config, _checked_monitoring(monitoring))
    host, port = hub.settings.hosts[0], hub.settings.door_port
    shown, at = (f"[{each}]" if ":" in each else each for each in (host, listens_on(hub.settings.hosts)))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hub_server(config.parent, config, write))
        await until_it_stores(hub)
        await serve_here(
            listen or f"{at}:{port}",
            nats=hub.own_url,
            credentials=hub.hub_creds,
            is_open=False,
            outside=f"https://{shown}:{port}",
            tls=(hub.server_cert, hub.server_key),
            hosts=hub.settings.hosts,
            joining=hub,
            lifetime_s=lifetime_s,
            with_members=partial(_guard, hub),
            metrics=metrics,
            on_ready=lambda url: on_ready(hub.server_url, url),
        )


def _checked_monitoring(address: str) -> str:
    """Return the address of the monitoring.

    Raises:
        BadInput: it is not one.
    """
    host, _, port = address.rpartition(":")
    if address and not (re.fullmatch(r"[\w.-]+|\[[\da-fA-F:]+\]", host) and re.fullmatch(r"\d{1,5}", port, re.ASCII)):
        raise BadInput(f"--monitoring is {address[:80]!r}; use HOST:PORT, such as 10.0.0.5:8222")
    return address


def write_current(hub: HubFolder) -> None:
    """Write the configuration of the servers with the rights that this version gives members.

    Where a key is missing to sign them, members keep those of another version, and who reads stderr is told.

    Raises:
        BadInput: a file of the hub is missing.
        OSError: the folder cannot be written.
    """
    try:
        renew_accounts(hub)
    except BadInput as error:
        print(
            f"mesh: members keep the rights of another version, and nobody calls their roll: {error}", file=sys.stderr
        )
    write_configs(hub)


def _write_config(hub: HubFolder, config: Path, monitoring: str) -> None:
    """Write the configuration of the server as it is started now."""
    write_current(hub)
    if monitoring:
        with config.open("a", encoding="utf-8") as file:
            file.write(f'http: "{monitoring}"\n')


async def until_it_stores(hub: HubFolder) -> None:
    """Wait until the server takes the hub's account: it listens before it has read the log.

    Raises:
        BusError: it never does.
    """
    deadline = anyio.current_time() + start_within_s(hub.folder)
    while True:
        try:
            async with connect(hub.own_url, name="mesh-hub", patience_s=5, credentials=hub.hub_creds):
                return
        except (BusRefused, BusUnavailable):
            if anyio.current_time() > deadline:
                raise
        await anyio.sleep(0.05)


async def _guard(hub: HubFolder, members: "Members") -> None:
    """Cut off who is revoked, and revoke who floods, until cancelled.

    A key that is missing, or a full disk, keeps it from that, and does not end the hub: any member could cause it.
    """
    told = ""
    while True:
        try:
            await _guarded(hub, members)
        except (BadInput, OSError) as error:
            if str(error) != told:
                told = str(error)
                print(f"mesh: no member can be cut off: {told}", file=sys.stderr, flush=True)
        await anyio.sleep(_GUARD_AGAIN_S)


async def _guarded(hub: HubFolder, members: "Members") -> None:
    from gateway.cut_off import cut_off_revoked
    from gateway.warden import watch_over

    try:
        async with system_account(hub.own_url, hub.sys_creds) as system, anyio.create_task_group() as tasks:
            tasks.start_soon(cut_off_revoked, members, hub, system)
            tasks.start_soon(partial(watch_over, members, hub, system, on_flood=_tell))
    except BaseExceptionGroup as group:
        raise leaf(group) from None


def _tell(name: str, reason: str) -> None:
    print(f"mesh: {name} {reason}; it is revoked", file=sys.stderr, flush=True)


def _check_installed() -> None:
    try:
        import cryptography  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as missing:
        raise BadInput(
            f"mesh hub start needs {missing.name}, which is not installed: pip install 'mesh-swarm[hub]'"
        ) from None


def opened_hub(folder: Path | None) -> HubFolder:
    """Return the hub of a folder, None for that of this home.

    Raises:
        BadInput: there is no hub in it.
    """
    from mesh import settings

    return HubFolder.open((folder or settings.home() / "hub").expanduser().resolve())
