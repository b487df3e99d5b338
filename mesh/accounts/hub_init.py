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
from mesh.accounts.certificates import Certified, check_host, host_of, new_authority, new_server_certificate
from mesh.accounts.creds_file import Creds, creds_text
from mesh.accounts.hub_folder import ACCOUNTS, CLIENT_PORT, DOOR_PORT, SETTINGS_FILE, HubFolder, HubSettings
from mesh.accounts.nkey import Nkey, new_nkey
from mesh.accounts.rights import ROLE_NAMES
from mesh.accounts.server_files import as_seen_from_inside, hub_server_config, listens_on
from mesh.atomic_write import atomic_write
from mesh.cluster_config import RouteTls, check_hosts, cluster_block
from mesh.disk import free_bytes, is_out_of_space
from mesh.errors import BadInput
from mesh.file_trees import delete

LEAST_DISK_BYTES = 1 << 30
_DISK_SHARE = 0.75
_READABLE = "ca.pem"
"""The files that everybody may read; all others belong to the operator alone."""


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
        nodes: hosts of the servers of a cluster, `HOST` or `HOST:PORT` where they reach each other; none for a single
            server.
        disk_bytes: bytes that the log may have; None is three quarters of what is free now.

    Raises:
        BadInput: a value is not valid, or the folder cannot be written, or has something else or another hub.
        OSError: the disk is full.
    """
    folder = folder.expanduser().resolve()
    places = check_hosts(nodes) if nodes else ()
    named = tuple(dict.fromkeys(map(check_host, (*hosts, *map(host_of, places)) or ("localhost",))))
    wanted = (named, port, door_port, places)
    room = disk_bytes or max(LEAST_DISK_BYTES, int((free_bytes(folder) or 0) * _DISK_SHARE))
    try:
        if there := _there(folder, wanted):
            return there, False
        is_new = _make(folder, wanted, room)
    except OSError as error:
        if is_out_of_space(error):
            raise
        raise BadInput(f"the folder {folder} of a hub cannot be made: {error.strerror}") from None
    return (HubFolder.open(folder), True) if is_new else (_there(folder, wanted) or HubFolder.open(folder), False)


def write_configs(hub: HubFolder) -> None:
    """Write the configuration of the servers again, with the present claims and the place where the folder is now.

    Raises:
        BadInput: a file of the hub is missing.
        OSError: the folder cannot be written.
    """
    secret = hub.route_secret if hub.settings.nodes else ""
    for node in _numbers(hub.settings):
        with atomic_write(hub.config_file(node), private=True, durable=True) as beside:
            beside.write_bytes(_config(hub, node, {name: hub.claims(name) for name in ("operator", *ACCOUNTS)}, secret))


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


def _make(folder: Path, wanted: _Wanted, disk_bytes: int) -> bool:
    """Make a hub, and tell whether it is ours: another process may have been faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    with _beside(folder) as staging:
        _fill(staging, folder, wanted, disk_bytes)
        try:
            staging.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        _sync(folder.parent)
    return True


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
        "HUB": signed.hub_claims(
            signer, public["HUB"], public["MEMBERS"], own.public, disk_bytes, HubFolder(staging, settings).copies
        ),
        "MEMBERS": signed.member_account_claims(
            signer, public["MEMBERS"], public["HUB"], {role: key.public for role, key in roles.items()}, {}
        ),
    }
    authority = new_authority()
    keys = {"operator": operator, "signer": signer, **accounts, "role-hub": own}
    keys |= {f"role-{role}": key for role, key in roles.items()}
    files: dict[Path, bytes] = {Path("keys", f"{name}.nk"): f"{key.seed}\n".encode() for name, key in keys.items()}
    files |= {Path("claims", f"{name}.jwt"): token.encode() for name, token in claims.items()}
    files |= _tls(authority, HubFolder(staging, settings))
    if nodes:
        files[Path("keys", "routes.secret")] = secrets.token_hex(24).encode()
    files[Path("creds", "hub.creds")] = _own_creds(own, public["HUB"], "hub", authority, is_scoped=True)
    files[Path("creds", "sys.creds")] = _own_creds(accounts["SYS"], public["SYS"], "sys", authority, is_scoped=False)
    later = HubFolder(folder, settings)
    secret = files.get(Path("keys", "routes.secret"), b"").decode()
    for node in _numbers(settings):
        files[later.config_file(node).relative_to(folder)] = _config(later, node, claims, secret)
    files[Path(SETTINGS_FILE)] = msgspec.json.format(msgspec.json.encode(settings)) + b"\n"
    folders = sorted({(staging / path).parent for path in files})
    for made in folders:
        made.mkdir(mode=0o700, exist_ok=True)
    for path, data in files.items():
        _write(staging / path, data, 0o644 if path.name == _READABLE else 0o600)
    for made in reversed(folders):
        _sync(made)


def _tls(authority: Certified, hub: HubFolder) -> dict[Path, bytes]:
    """Return the files of the authority, and the certificate of each server."""
    files = {Path("tls", "ca.pem"): authority.certificate, Path("tls", "ca.key"): authority.key}
    for node in _numbers(hub.settings):
        own = [host_of(hub.settings.nodes[node - 1])] if node else []
        made, places = new_server_certificate(authority, [*own, *hub.settings.hosts]), hub.files_of(node)
        for path, data in (
            (places.certificate, made.certificate),
            (places.key, made.key),
            (places.ca, authority.certificate),
        ):
            files[path.relative_to(hub.folder)] = data
    return files


def _own_creds(signer: Nkey, account: str, name: str, authority: Certified, *, is_scoped: bool) -> bytes:
    key = new_nkey("user")
    token = signed.own_user_claims(signer, key.public, account, name, is_scoped=is_scoped)
    return creds_text(Creds(token, key.seed, authority.certificate.decode())).encode()


def _config(hub: HubFolder, node: int, claims: dict[str, str], secret: str) -> bytes:
    """Return the configuration of one server; the paths of a node are as seen from its own folder."""
    public, files = hub.settings.accounts, hub.files_of(node)
    hosts, cluster = hub.settings.hosts, ""
    if node:
        files = as_seen_from_inside(files)
        hosts = (host_of(hub.settings.nodes[node - 1]),)
        tls = RouteTls(files.certificate, files.key, files.ca)
        cluster = cluster_block(hub.settings.nodes, node, secret=secret, tls=tls, listen=listens_on(hosts))
    return hub_server_config(
        files,
        host=listens_on(hosts),
        port=hub.settings.port,
        operator=claims["operator"],
        system=public["SYS"],
        accounts={public[name]: claims[name] for name in ACCOUNTS},
        disk_bytes=hub.settings.disk_bytes,
        cluster=cluster,
    )


def _numbers(settings: HubSettings) -> range:
    """Return the numbers of the servers: 0 is a single one, nodes of a cluster count from 1."""
    return range(1, len(settings.nodes) + 1) if settings.nodes else range(1)


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Make a folder beside another one, which is deleted when the block ends, unless it was renamed."""
    staging, lock = _locked(folder)
    try:
        yield staging
    finally:
        if staging.exists():
            delete(staging)
        os.close(lock)


def _locked(folder: Path) -> tuple[Path, int]:
    """Return a new folder beside another one, and the descriptor that has a lock on it."""
    while True:
        staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        staging.mkdir(mode=0o700)
        with suppress(FileNotFoundError):  # before it had a lock, another call took it for one that was left
            lock = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return staging, lock
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
