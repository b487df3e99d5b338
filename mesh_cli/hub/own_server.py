"""The server of this machine's hub, for one command: the running one, or else one that runs as long as the command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from mesh import store_lock
from mesh.accounts.hub_folder import HubFolder
from mesh.errors import BadInput, BusError
from mesh.hub_server import hub_server
from mesh.jetstream import JetStreamHub, connect
from mesh_cli.connect import reach_hub
from mesh_cli.hub.serving import until_it_stores, write_current


@asynccontextmanager
async def reach_log(folder: Path | None, nats: str | None, *, make: bool = False) -> AsyncIterator[JetStreamHub]:
    """Open all logs of a hub as the hub itself, or of a server that is named, or else of this home.

    Args:
        folder: the folder of the hub; None where there is none.
        nats: the address of a server; it wins.
        make: whether a home without logs gets a store.

    Raises:
        BadInput: a server with the same keys answers, and has its log in another folder.
        BusUnavailable: no server answers or starts.
    """
    if folder is None or nats is not None:
        async with reach_hub(nats, make=make) as opened:
            yield opened
        return
    hub = HubFolder.open(folder.expanduser().resolve())
    if not await _answers(hub):
        config = hub.config_file()
        async with hub_server(config.parent, config, partial(write_current, hub)):
            await until_it_stores(hub)
            async with connect(hub.own_url, name="mesh-cli", credentials=hub.hub_creds) as opened:
                yield opened
        return
    _check_its_folder(hub)
    async with connect(hub.own_url, name="mesh-cli", credentials=hub.hub_creds) as opened:
        yield opened


def _check_its_folder(hub: HubFolder) -> None:
    """Check that the server that answers has the log of this folder: a copy of the folder has the same keys and port.

    Raises:
        BadInput: nobody has locked the log in this folder.
    """
    if hub.settings.nodes:  # its servers are on other machines
        return
    folder = hub.config_file().parent
    try:
        lock = store_lock.acquire(folder)
    except OSError as error:
        raise BadInput(f"the folder {folder} of a hub cannot be used: {error.strerror}") from None
    if lock:
        lock.close()
        raise BadInput(
            f"the server at {hub.own_url} has the keys of the hub in {folder}, but its log is in another folder: "
            "end that server first"
        )


async def _answers(hub: HubFolder) -> bool:
    try:
        async with connect(hub.own_url, name="mesh-cli", patience_s=2, credentials=hub.hub_creds):
            return True
    except BusError:
        return False
