"""The folder of a hub: its keys, claims, certificates and the configuration of its servers.

`mesh.accounts.hub_init` makes it. The key of the operator may be moved away from it, and that of the authority too:
members come and go, and are revoked, without them.
"""

from pathlib import Path
from typing import Self

import msgspec

from mesh.accounts.certificates import hash_of_certificate
from mesh.accounts.nkey import Nkey, nkey_of
from mesh.accounts.server_files import ServerFiles, listens_on
from mesh.cluster_config import node_name, server_urls
from mesh.errors import BadInput

ACCOUNTS = ("SYS", "HUB", "MEMBERS")
SETTINGS_FILE = "hub.json"
CLIENT_PORT, DOOR_PORT = 4222, 8443
_COPIES = 3
_MOST_BYTES = 1 << 20


class HubSettings(msgspec.Struct, frozen=True):
    """What `hub.json` says: by which names and ports a hub is reached, its nodes, and its public keys.

    `nodes` are the hosts of the servers of a cluster, none for a single server. `accounts` are public keys by name.
    """

    hosts: tuple[str, ...]
    port: int
    door_port: int
    nodes: tuple[str, ...]
    disk_bytes: int
    operator: str
    accounts: dict[str, str]
    created: str = ""
    format: int = 1


class HubFolder:
    """An open folder of a hub."""

    def __init__(self, folder: Path, settings: HubSettings) -> None:
        self.folder, self.settings = folder, settings

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Return the hub of a folder.

        Raises:
            BadInput: there is none, or it was made by a newer version.
        """
        folder = folder.expanduser().resolve()
        marker = folder / SETTINGS_FILE
        try:
            with marker.open("rb") as file:
                settings = msgspec.json.decode(file.read(_MOST_BYTES), type=HubSettings)
        except FileNotFoundError:
            raise BadInput(f"there is no hub in {folder}: make one with `mesh hub init`, or name its --dir") from None
        except OSError as error:
            raise BadInput(f"{marker} cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise BadInput(f"{marker} is damaged: restore it from a backup of the hub") from None
        if settings.format != 1:
            raise BadInput(f"{marker} has format {settings.format}, which this version does not know: use a newer mesh")
        return cls(folder, settings)

    @property
    def ca(self) -> str:
        """The certificate of the hub's authority, in PEM."""
        return self._read(Path("tls", "ca.pem"))

    @property
    def ca_hash(self) -> bytes:
        """The sha256 of that certificate, which an invitation carries."""
        return hash_of_certificate(self.ca)

    @property
    def hub_creds(self) -> Path:
        """Credentials of the account HUB, for the operator's own processes."""
        return self.folder / "creds" / "hub.creds"

    @property
    def sys_creds(self) -> Path:
        """Credentials of the account SYS, by which members are cut off."""
        return self.folder / "creds" / "sys.creds"

    @property
    def copies(self) -> int:
        """How many servers keep each log."""
        return _COPIES if self.settings.nodes else 1

    @property
    def server_url(self) -> str:
        """The address that members are told: of every node of a cluster."""
        if self.settings.nodes:
            return server_urls(self.settings.nodes, self.settings.port, "tls")
        return f"tls://{_bracketed(self.settings.hosts[0])}:{self.settings.port}"

    @property
    def own_url(self) -> str:
        """The address for processes of this machine."""
        if self.settings.nodes:
            return self.server_url
        at = listens_on(self.settings.hosts)
        return f"tls://{_bracketed(at) if at == '::1' else 'localhost'}:{self.settings.port}"

    @property
    def server_cert(self) -> Path:
        """The certificate of this machine's server (with nodes: of the first), which its door shows as well."""
        return self.files_of(1 if self.settings.nodes else 0).certificate

    @property
    def server_key(self) -> Path:
        """The private key of that certificate."""
        return self.files_of(1 if self.settings.nodes else 0).key

    def config_file(self, node: int = 0) -> Path:
        """Return the configuration of a server; nodes count from 1, 0 is a single one."""
        return self.files_of(node).folder / "nats.conf"

    def files_of(self, node: int = 0) -> ServerFiles:
        """Return where a server has what; nodes count from 1, 0 is a single one."""
        name = node_name(node) if node else "mesh-hub"
        own = self.folder / name if node else self.folder
        tls = own / "tls"
        return ServerFiles(name, own, tls / "server.pem", tls / "server.key", tls / "ca.pem", own / "accounts")

    def key(self, name: str) -> Nkey:
        """Return a key pair: `operator`, `signer`, an account, or `role-` and a role.

        Raises:
            BadInput: its file was moved away, or is damaged.
        """
        return nkey_of(self._read(Path("keys", f"{name}.nk")))

    @property
    def route_secret(self) -> str:
        """The password of the servers of a cluster among themselves."""
        return self._read(Path("keys", "routes.secret")).strip()

    def claims(self, name: str) -> str:
        """Return the present token of an account, or of the `operator`.

        Raises:
            BadInput: its file cannot be read.
        """
        return self._read(Path("claims", f"{name}.jwt")).strip()

    def _read(self, path: Path) -> str:
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(_MOST_BYTES).decode("ascii")
        except FileNotFoundError:
            raise BadInput(f"the hub {self.folder} has no {path} any more: put the file back") from None
        except OSError as error:
            raise BadInput(f"{self.folder / path} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise BadInput(f"{self.folder / path} is damaged: restore it from a backup of the hub") from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
