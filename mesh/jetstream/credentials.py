"""Reads credentials for a server: a `.creds` file (a JWT and its key, from nsc), or a file with an nkey's seed.

A `.creds` file of a hub also has the certificate of the authority that the server must be known to.
"""

import ssl
from pathlib import Path
from typing import Any

from mesh.accounts.creds_file import ca_in
from mesh.errors import BadInput


def proof(path: Path | None) -> dict[str, Any]:
    """Return the credentials in a file as options of nats-py's `connect`; without a file there are none.

    Raises:
        BadInput: the file cannot be read, or has no valid credentials.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise BadInput(f"credentials {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        text = ""
    if "BEGIN NATS USER JWT" in text and "BEGIN USER NKEY SEED" in text:
        return {"user_credentials": str(path), **_trust(path, ca_in(text))}
    seed = next((line.strip() for line in text.splitlines() if line.startswith("SU")), "")
    if not seed:
        raise BadInput(
            f"credentials {path} contain no valid key: use a user's JWT with its key (.creds), or an nkey's seed (SU…)"
        )
    try:
        import nkeys

        nkeys.from_seed(bytearray(seed.encode()))
    except Exception:  # nkeys raises many types, and their texts may contain the seed
        raise BadInput(f"credentials {path} contain a damaged nkey seed: use another copy of the file") from None
    return {"nkeys_seed_str": seed}


def _trust(path: Path, ca: str) -> dict[str, Any]:
    """Return the option by which only servers with a certificate of this authority are believed."""
    if not ca:
        return {}
    try:
        return {"tls": ssl.create_default_context(cadata=ca)}
    except ssl.SSLError:
        raise BadInput(f"credentials {path} contain a damaged certificate: use another copy of the file") from None
