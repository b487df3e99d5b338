"""Files with credentials: the token of a user, its key, and the certificate of the hub that they are for.

The first two parts are those of every `.creds` file, so that other tools of NATS read ours. The third one is the
certificate of the authority, in PEM: who has the file needs nothing else to know the right server.
"""

import re
from pathlib import Path

import msgspec

from mesh.accounts.nkey import Nkey
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput

_MOST_BYTES = 1 << 20
_TOKEN = re.compile(r"-+BEGIN NATS USER JWT-+\s+([\w.-]+)\s+-+END NATS USER JWT-+")
_SEED = re.compile(r"-+BEGIN USER NKEY SEED-+\s+(SU[A-Z2-7]+)\s+-+END USER NKEY SEED-+")
_CERTIFICATES = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----\n?", re.DOTALL)


class Creds(msgspec.Struct, frozen=True):
    """The parts of a file with credentials; `ca` is "" where the server has no authority of its own."""

    jwt: str
    seed: str
    ca: str = ""


def creds_text(creds: Creds) -> str:
    """Return the contents of a file with credentials."""
    ca = f"\n{creds.ca.strip()}\n" if creds.ca else ""
    return (
        f"-----BEGIN NATS USER JWT-----\n{creds.jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{creds.seed}\n------END USER NKEY SEED------\n{ca}"
    )


def write_creds(path: Path, jwt: str, key: Nkey, ca: str = "") -> None:
    """Write a file with credentials that only its owner can read, in one step.

    Raises:
        OSError: the folder cannot be written.
    """
    with atomic_write(path, private=True, durable=True) as beside:
        beside.write_text(creds_text(Creds(jwt, key.seed, ca)), encoding="ascii")


def read_creds(path: Path) -> Creds:
    """Return the parts of a file with credentials.

    Raises:
        BadInput: the file cannot be read, or lacks a token or a key.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("ascii")
    except OSError as error:
        raise BadInput(f"credentials {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    token, seed = _TOKEN.search(text), _SEED.search(text)
    if not token or not seed:
        raise BadInput(f"credentials {path} lack the token or the key of a user: use another copy of the file")
    return Creds(token[1], seed[1], ca_in(text))


def ca_in(text: str) -> str:
    """Return the certificates in the text of a file with credentials, "" if there are none."""
    return "".join(_CERTIFICATES.findall(text))
