"""`hooks.toml`: which facts go to which address, and the secret that signs them.

    [[hook]]
    name = "chat"                              # names its cursor
    url = "https://chat.example.org/mesh"
    secret = "whsec_…"                         # or secret_env = "CHAT_SECRET"
    kinds = ["proposal.promoted", "arena.*"]   # default: proposal.promoted and arena.closed
    arenas = ["digits"]                        # default: all
    headers = { Authorization = "Bearer …" }
    ca = "own-ca.pem"                          # certificates to believe in place of the public ones

Secrets are as in Standard Webhooks 1.0: `whsec_` and 24 to 64 bytes in base64.
"""

import base64
import binascii
import fnmatch
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from mesh.errors import BadInput
from mesh.events import KINDS
from mesh.text import printable

DEFAULT_KINDS = ("proposal.promoted", "arena.closed")
_SECRET = "whsec_"
_MAX_BYTES = 1024 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_OURS = ("host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent")
_CURE = "make one with: echo whsec_$(openssl rand -base64 32)"


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """One address, what is posted there, and the key that signs it."""

    name: str
    url: str
    key: bytes
    kinds: tuple[str, ...]
    arenas: tuple[str, ...]
    headers: dict[str, str]
    ca: Path | None

    def __repr__(self) -> str:
        return f"Hook({self.name!r})"  # no secret in a traceback or a log


class _Written(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    url: str
    secret: str = ""
    secret_env: str = ""
    kinds: tuple[str, ...] = DEFAULT_KINDS
    arenas: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    ca: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    hook: list[_Written] = []


def read_hooks(path: Path, environ: Mapping[str, str] = os.environ, *, http: bool = False) -> tuple[Hook, ...]:
    """Return the hooks of a file.

    Args:
        path: The file; only its owner may be able to read it.
        environ: Where `secret_env` is looked up.
        http: Allow addresses without TLS.

    Raises:
        BadInput: The file cannot be read, others can read it, or a hook is not valid.
    """
    try:
        with path.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            data = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"the webhooks in {path} cannot be read: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(f"{path} has secrets, and others than its owner can read or write it; run: chmod 600 {path}")
    if len(data) > _MAX_BYTES:
        raise BadInput(f"{path} has more than {_MAX_BYTES:,} bytes; it lists webhooks, one [[hook]] each")
    try:
        written = msgspec.convert(tomllib.loads(data.decode("utf-8")), _File)
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"{path} is not valid: {printable(str(error), 200)}") from None
    if not written.hook:
        raise BadInput(f"{path} has no [[hook]]; each needs a name, a url and a secret")
    names = [each.name for each in written.hook]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise BadInput(f"{path} has two hooks with the name {twice!r}; a name belongs to one")
    return tuple(_hook(each, path, environ, http=http) for each in written.hook)


def is_for(hook: Hook, arena: str) -> bool:
    """Return whether a hook wants facts of an arena."""
    return not hook.arenas or arena in hook.arenas


def _hook(written: _Written, path: Path, environ: Mapping[str, str], *, http: bool) -> Hook:
    if not _NAME.fullmatch(written.name):
        raise BadInput(
            f"a hook of {path} has the name {written.name[:60]!r}; use 1 to 63 of a-z, 0-9, '_' and '-', a letter or"
            " digit first"
        )
    where = f"hook {written.name!r} of {path}"
    _check_url(where, written.url, http=http)
    for name, text in written.headers.items():
        if not _HEADER.fullmatch(name) or name.lower() in _OURS or name.lower().startswith("webhook-"):
            raise BadInput(f"{where} sets the header {name[:60]!r}, which it cannot; leave it out")
        if not text.isascii() or not text.isprintable():
            raise BadInput(f"{where}: the header {name} has characters that are not printable ASCII")
    for kind in written.kinds:
        if not any(fnmatch.fnmatchcase(each, kind) for each in KINDS):
            raise BadInput(
                f"{where} wants {kind[:60]!r}, which is no kind of fact; kinds are {', '.join(sorted(KINDS))}"
            )
    if not written.kinds:
        raise BadInput(f"{where} wants no kind of fact; leave `kinds` out, or name some: {', '.join(sorted(KINDS))}")
    return Hook(
        name=written.name,
        url=written.url,
        key=_key(where, written, environ),
        kinds=tuple(kind for kind in KINDS if any(fnmatch.fnmatchcase(kind, each) for each in written.kinds)),
        arenas=written.arenas,
        headers=written.headers,
        ca=_ca(where, written, path),
    )


def _check_url(where: str, url: str, *, http: bool) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadInput(f"{where} has a url that is not valid: {error}") from None
    schemes = ("https", "http") if http else ("https",)
    if parts.scheme not in schemes or not host or not url.isascii() or not url.isprintable() or " " in url:
        more = "" if http else " (http only with --allow-private)"
        raise BadInput(f"{where} has the url {printable(url, 60)!r}; use https://HOST/PATH{more}")
    if parts.username or parts.password:
        raise BadInput(f"{where} has a password in its url, which logs would show; use `headers`")


def _key(where: str, written: _Written, environ: Mapping[str, str]) -> bytes:
    if bool(written.secret) == bool(written.secret_env):
        raise BadInput(f"{where} needs one of secret and secret_env; {_CURE}")
    secret = written.secret or environ.get(written.secret_env, "")
    if not secret:
        raise BadInput(f"{where} has its secret in {written.secret_env}, which is not set; {_CURE}")
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_SECRET) or not 24 <= len(key) <= 64:
        raise BadInput(f"{where} has a secret that is not {_SECRET} and 24 to 64 bytes in base64; {_CURE}")
    return key


def _ca(where: str, written: _Written, path: Path) -> Path | None:
    if not written.ca:
        return None
    file = path.parent / Path(written.ca).expanduser()
    if not file.is_file():
        raise BadInput(f"{where} names the certificates {file}, which are not there")
    return file
