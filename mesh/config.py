"""Settings: what settings exist, and which source gives each its value. Pure.

A layer is the values of one source: the environment, a file or a context. Earlier layers win. An unknown key in a file
is an error, so that a misspelled key is noticed.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mesh.decoding import decode_toml
from mesh.errors import BadInput


class Key(msgspec.Struct, frozen=True):
    """A setting: its meaning, its default ("": none), its allowed values (empty: any), and whether it is a path."""

    about: str
    default: str = ""
    choices: tuple[str, ...] = ()
    path: bool = False


KEYS: dict[str, Key] = {
    "nats": Key("URL of the NATS server; separate several with commas"),
    "arena": Key("name of the arena, if the server has several"),
    "credentials": Key("file with your credentials for the server (.creds)", path=True),
    "home": Key("folder of the store, the caches and the projection", path=True),
    "output": Key("format of listings", "text", ("text", "json")),
    "log": Key("form of what processes write to standard error", "text", ("text", "json")),
    "boards": Key(
        "whose boards to start from: those that members hand on, or own ones alone", "swarm", ("swarm", "own")
    ),
    "color": Key("when to colour text; auto: on a terminal", "auto", ("auto", "always", "never")),
}

CONTEXT_KEYS = ("nats", "arena", "credentials")
DEFAULT = "default"


class Layer(msgspec.Struct, frozen=True):
    """The values of one source; `is_environment` if each setting is an environment variable."""

    source: str
    values: Mapping[str, str]
    is_environment: bool = False


class Value(msgspec.Struct, frozen=True):
    """A setting's value ("": none) and the source that gives it."""

    value: str
    source: str


class Contexts(msgspec.Struct, frozen=True):
    """Settings by the name of their context, and the name of the context in use ("": none)."""

    use: str = ""
    named: Mapping[str, Mapping[str, str]] = {}


def resolve(layers: Sequence[Layer]) -> dict[str, Value]:
    """Return the value and the source of every setting.

    Credentials belong to the server of their layer: if a stronger layer names another server, that server does not get
    them. Credentials from the environment go to any server.

    Args:
        layers: the sources, the strongest first.
    """
    place = {name: _place(name, layers) for name in KEYS}
    found = {
        name: Value(KEYS[name].default, DEFAULT)
        if at is None
        else Value(layers[at].values[name], _source(layers[at], name))
        for name, at in place.items()
    }
    has, names = place["credentials"], place["nats"]
    if has is not None and names is not None and names < has and not layers[has].is_environment:
        found["credentials"] = Value(
            "", f"those in {layers[has].source} are not used: {found['nats'].source} names the server"
        )
    return found


def _place(name: str, layers: Sequence[Layer]) -> int | None:
    return next((at for at, layer in enumerate(layers) if layer.values.get(name)), None)


def _source(layer: Layer, name: str) -> str:
    return variable(name) if layer.is_environment else layer.source


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"MESH_{name.upper()}"


def from_environment(environment: Mapping[str, str]) -> Layer:
    """Return the settings in `MESH_NATS` and similar variables; an empty variable counts as not set.

    Raises:
        BadInput: a value is not one of the allowed ones.
    """
    named = {name: environment.get(variable(name), "") for name in KEYS}
    values = {name: _checked(name, value, variable(name)) for name, value in named.items() if value}
    return Layer("environment", values, is_environment=True)


def read(text: str, source: str) -> Layer:
    """Return the settings in a file of TOML.

    Args:
        text: the contents of the file.
        source: its path, for the errors; paths in the file are relative to its folder.

    Raises:
        BadInput: the text is not valid TOML, a key is not a setting, or a value is not valid.
    """
    return Layer(source, _table(_toml(text, source), source, "", tuple(KEYS)))


def read_contexts(text: str, source: str) -> Contexts:
    """Return the contexts in a file of TOML; arguments and errors as in `read`."""
    body = _toml(text, source)
    _known(body, ("use", "context"), source, "")
    named, use = body.get("context", {}), body.get("use", "")
    if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
        raise BadInput(f"{source}: context must contain tables: write each context as a table such as [context.lab]")
    tables = {name: _table(t, source, f"context.{name}.", CONTEXT_KEYS) for name, t in named.items()}
    if not isinstance(use, str) or (use and use not in tables):
        raise BadInput(f"{source}: use is {use!r}, which is not a context in it; it has {', '.join(tables) or 'none'}")
    return Contexts(use, tables)


def write_contexts(contexts: Contexts) -> str:
    """Return contexts as TOML that `read_contexts` can read."""
    lines = ["# Written by `mesh context`.", *([f"use = {_quoted(contexts.use)}"] if contexts.use else [])]
    for name, table in contexts.named.items():
        lines += ["", f"[context.{_quoted(name)}]", *(f"{key} = {_quoted(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def hide(value: str) -> str:
    """Return an address with `***` instead of the user, password or token in it: `nats://***@host`."""
    servers = re.split(r",(?=\s*\w+://)", value)
    return ",".join(re.sub(r"^(\s*\w+://)?.*@", lambda m: f"{m[1] or ''}***@", server) for server in servers)


def _toml(text: str, source: str) -> dict[str, Any]:
    try:
        return decode_toml(text.encode())
    except ValueError as error:
        raise BadInput(f"{source} is not valid TOML: {error}") from None


def _known(table: Mapping[str, Any], keys: Sequence[str], source: str, prefix: str) -> None:
    for name in table:
        if name not in keys:
            raise BadInput(f"{source}: there is no setting {prefix + name!r}; use {', '.join(keys)}")


def _table(table: Mapping[str, Any], source: str, prefix: str, keys: Sequence[str]) -> dict[str, str]:
    _known(table, keys, source, prefix)
    values = {}
    for name, value in table.items():
        if not isinstance(value, str):
            raise BadInput(f"{source}: {prefix}{name} is {hide(repr(value))}, which is not text: write it in quotes")
        checked = _checked(name, value, f"{source}: {prefix}{name}")
        is_path = KEYS[name].path and value and not value.startswith("~")
        values[name] = str(Path(source).parent / checked) if is_path else checked
    return values


def _checked(name: str, value: str, where: str) -> str:
    choices = KEYS[name].choices
    if choices and value not in choices:
        raise BadInput(f"{where} is {value!r}; use {', '.join(choices)}")
    if not value.isprintable():
        raise BadInput(f"{where} is {value!r}, which contains control characters: remove them")
    return value


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
