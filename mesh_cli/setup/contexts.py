"""`mesh context`: named sets of server, arena and credentials in a file of the user, read by `mesh.settings`."""

import sys
from pathlib import Path

from mesh import settings
from mesh.config import Contexts, hide
from mesh.errors import BadInput, UnknownName
from mesh.wire import check_token


def keep_context(name: str, *, nats: str, arena: str, credentials: str) -> None:
    """Save a context; replaces the one of that name.

    Raises:
        BadInput: a value is malformed.
    """
    from mesh.jetstream.address import parse_address
    from mesh.jetstream.credentials import proof

    check_token("context", name)
    parse_address(nats)  # an address that cannot be used should be refused now
    if arena:
        check_token("arena", arena)
    path = Path(credentials).expanduser().resolve() if credentials else None
    proof(path)
    values = {"nats": nats, "arena": arena, "credentials": str(path or "")}
    kept = _contexts()
    place = {key: value for key, value in values.items() if value}
    settings.save_contexts(Contexts(kept.use, {**kept.named, name: place}))


def switch(name: str | None, *, none: bool) -> None:
    """Use a context, or with `none` no context.

    Raises:
        BadInput: both or neither are given, or there is no such context.
    """
    if none == (name is not None):
        raise BadInput("name a context to use, or use --none")
    kept = _contexts()
    if name is not None:
        _known(kept, name)
    settings.save_contexts(Contexts(name or "", kept.named))


def forget(name: str) -> None:
    """Delete a context; raises `UnknownName` if there is none of that name."""
    kept = _contexts()
    _known(kept, name)
    rest = {other: place for other, place in kept.named.items() if other != name}
    settings.save_contexts(Contexts("" if kept.use == name else kept.use, rest))


def described() -> list[dict[str, object]]:
    """Return the contexts as rows, without secrets of their addresses."""
    kept = _contexts()
    return [_row(kept, name) for name in sorted(kept.named)]


def one(name: str | None) -> dict[str, object]:
    """Return one context, or the one in use, as a row; raises `UnknownName` if there is none."""
    kept = _contexts()
    chosen = name or kept.use
    if not chosen:
        raise UnknownName("no context is in use; name one, or list them with mesh context list")
    _known(kept, chosen)
    return _row(kept, chosen)


def _row(kept: Contexts, name: str) -> dict[str, object]:
    place = kept.named[name]
    address = hide(place.get("nats", ""))
    rest = {"arena": place.get("arena", ""), "credentials": place.get("credentials", "")}
    return {"name": name, "nats": address, **rest, "used": name == kept.use}


def _known(kept: Contexts, name: str) -> None:
    if name not in kept.named:
        raise UnknownName(
            f"{name!r} is not a context; use {', '.join(sorted(kept.named)) or 'mesh context add to make one'}"
        )


def _contexts() -> Contexts:
    path = settings.contexts_file()
    if not settings.is_private(path):
        print(f"mesh: other users can read {path}, which may contain passwords: chmod 600 {path}", file=sys.stderr)
    return settings.contexts()
