"""Makes the folder of a hub: keys, claims, certificates, credentials and the configuration of its servers.

Everything is made in a folder beside, which then gets the right name in one step: who is killed in between leaves no
half a hub, and the next call deletes what was left.
"""

import datetime as dt
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from mesh.accounts import account_claims as signed
from mesh.accounts.certificates import Certified, check_host, new_authority, new_server_certificate
from mesh.accounts.creds_file import Creds, creds_text
from mesh.accounts.hub_folder import ACCOUNTS, CLIENT_PORT, DOOR_PORT, SETTINGS_FILE, HubFolder, HubSettings
from mesh.accounts.nkey import Nkey, new_nkey
from mesh.accounts.rights import ROLE_NAMES
from mesh.accounts.server_files import hub_server_config, listens_on
from mesh.atomic_write import atomic_write
from mesh.disk import free_bytes
from mesh.errors import BadInput
from mesh.file_trees import delete

LEAST_DISK_BYTES = 1 << 30
_DISK_SHARE = 0.75
_READABLE = (Path("tls", "ca.pem"),)
"""Files that everybody may read; all others belong to the operator alone."""


def init_hub(
    folder: Path,
    hosts: Sequence[str] = (),
    *,
    port: int = CLIENT_PORT,
    door_port: int = DOOR_PORT,
    nodes: Sequence[str] = (),
    disk_bytes: int | None = None,
) -> tuple[HubFolder, bool]:
    """Make a hub in a folder, or return the one that is there if it is the same; tell whether it is new.

    Args:
        folder: the folder, which must be empty or not exist.
        hosts: names and addresses by which members reach it, the first one being what they are told; none: this
            machine alone, by loopback.
        port: port of the server.
        door_port: port of the door by which members join.
        nodes: hosts of the servers of a cluster; none for a single server.
        disk_bytes: bytes that the log may have; None is three quarters of what is free now.

    Raises:
        BadInput: a value is not valid, or the folder has something else or another hub.
        OSError: the folder cannot be written.
    """
    folder = folder.expanduser().resolve()
    named = tuple(dict.fromkeys(map(check_host, (*nodes, *hosts) if nodes else hosts or ("localhost",))))
    wanted = (named, port, door_port, tuple(nodes))
    if len(set(nodes)) != len(nodes):
        raise BadInput(f"the nodes are {', '.join(nodes)}: name each of them once")
    if there := _there(folder, wanted):
        return there, False
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    room = disk_bytes or max(LEAST_DISK_BYTES, int((free_bytes(folder) or 0) * _DISK_SHARE))
    with _beside(folder) as staging:
        _fill(staging, folder, wanted, room)
        try:
            staging.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            if there := _there(folder, wanted):  # another process was faster
                return there, False
            raise
        _sync(folder.parent)
    return HubFolder.open(folder), True


def write_configs(hub: HubFolder) -> None:
    """Write the configuration of the servers again, with the present claims and the place where the folder is now.

    Raises:
        BadInput: a file of the hub is missing.
        OSError: the folder cannot be written.
    """
    for node in _numbers(hub.settings):
        with atomic_write(hub.config_file(node), private=True, durable=True) as beside:
            beside.write_bytes(_config(hub, node, {name: hub.claims(name) for name in ("operator", *ACCOUNTS)}))


_Wanted = tuple[tuple[str, ...], int, int, tuple[str, ...]]


def _there(folder: Path, wanted: _Wanted) -> HubFolder | None:
    """Return the hub of a folder if it is the one that is wanted, None if the folder is free."""
    if (folder / SETTINGS_FILE).exists():
        hub = HubFolder.open(folder)
        is_same = wanted == (hub.settings.hosts, hub.settings.port, hub.settings.door_port, hub.settings.nodes)
        if not is_same:
            raise BadInput(
                f"{folder} has a hub already, for {', '.join(hub.settings.hosts)} and port {hub.settings.port}: "
                "give the same hosts and ports, or another --dir"
            )
        return hub
    with suppress(FileNotFoundError):
        try:
            if next(folder.iterdir(), None) is not None:
                raise BadInput(f"{folder} is not empty and not a hub: give another --dir")
        except NotADirectoryError:
            raise BadInput(f"{folder} is a file: give another --dir") from None
    return None


def _fill(staging: Path, folder: Path, wanted: _Wanted, disk_bytes: int) -> None:
    """Write all files of a hub that will be at `folder`."""
    hosts, port, door_port, nodes = wanted
    operator, signer = new_nkey("operator"), new_nkey("operator")
    accounts = {name: new_nkey("account") for name in ACCOUNTS}
    roles = {role: new_nkey("account") for role in ROLE_NAMES}
    own = new_nkey("account")
    public = {name: key.public for name, key in accounts.items()}
    settings = HubSettings(
        hosts=hosts,
        port=port,
        door_port=door_port,
        nodes=nodes,
        disk_bytes=disk_bytes,
        operator=operator.public,
        accounts=public,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )
    claims = {
        "operator": signed.operator_claims(operator, signer.public, public["SYS"]),
        "SYS": signed.system_claims(signer, public["SYS"]),
        "HUB": signed.hub_claims(signer, public["HUB"], public["MEMBERS"], own.public, disk_bytes),
        "MEMBERS": signed.member_account_claims(
            signer, public["MEMBERS"], public["HUB"], {role: key.public for role, key in roles.items()}, {}
        ),
    }
    authority = new_authority()
    keys = {"operator": operator, "signer": signer, **accounts, "role-hub": own}
    keys |= {f"role-{role}": key for role, key in roles.items()}
    files: dict[Path, bytes] = {Path("keys", f"{name}.nk"): f"{key.seed}\n".encode() for name, key in keys.items()}
    files |= {Path("claims", f"{name}.jwt"): token.encode() for name, token in claims.items()}
    files |= _tls(authority, settings)
    files[Path("creds", "hub.creds")] = _own_creds(own, public["HUB"], "hub", authority, is_scoped=True)
    files[Path("creds", "sys.creds")] = _own_creds(accounts["SYS"], public["SYS"], "sys", authority, is_scoped=False)
    later = HubFolder(folder, settings)
    for node in _numbers(settings):
        files[later.config_file(node).relative_to(folder)] = _config(later, node, claims)
    files[Path(SETTINGS_FILE)] = msgspec.json.format(msgspec.json.encode(settings)) + b"\n"
    for path, data in files.items():
        _write(staging / path, data, 0o644 if path in _READABLE else 0o600)
    for made in sorted({(staging / path).parent for path in files}, reverse=True):
        _sync(made)


def _tls(authority: Certified, settings: HubSettings) -> dict[Path, bytes]:
    """Return the files of the authority and of each server's certificate."""
    files = {Path("tls", "ca.pem"): authority.certificate, Path("tls", "ca.key"): authority.key}
    for node in _numbers(settings):
        name = f"node-{node}" if node else "server"
        made = new_server_certificate(authority, settings.hosts)
        files |= {Path("tls", f"{name}.pem"): made.certificate, Path("tls", f"{name}.key"): made.key}
    return files


def _own_creds(signer: Nkey, account: str, name: str, authority: Certified, *, is_scoped: bool) -> bytes:
    key = new_nkey("user")
    token = signed.own_user_claims(signer, key.public, account, name, is_scoped=is_scoped)
    return creds_text(Creds(token, key.seed, authority.certificate.decode())).encode()


def _config(hub: HubFolder, node: int, claims: dict[str, str]) -> bytes:
    """Return the configuration of one server."""
    public = hub.settings.accounts
    return hub_server_config(
        hub.files_of(node),
        host=listens_on(hub.settings.hosts),
        port=hub.settings.port,
        operator=claims["operator"],
        system=public["SYS"],
        accounts={public[name]: claims[name] for name in ACCOUNTS},
        disk_bytes=hub.settings.disk_bytes,
    )


def _numbers(settings: HubSettings) -> range:
    """Return the numbers of the servers: 0 is a single one, nodes of a cluster count from 1."""
    return range(1, len(settings.nodes) + 1) if settings.nodes else range(1)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Make a folder beside another one, which is deleted when the block ends, unless it was renamed."""
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    staging.mkdir(mode=0o700)
    lock = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield staging
    finally:
        if staging.exists():
            delete(staging)
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Delete what calls left that were killed; whoever still works has a lock on its own."""
    for left in folder.parent.glob(f".{folder.name}.{'[0-9a-f]' * 8}.part"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                delete(left)
            finally:
                os.close(lock)


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
