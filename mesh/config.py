"""Settings: which there are, and which of several sources gives each its value. Pure.

A layer is what one source says: the environment, a file, a context. Earlier layers win. Whatever a file holds that is
no setting is an error: a misspelled key that is passed over is worse than none.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mesh.errors import BadInput


class Key(msgspec.Struct, frozen=True):
    """A setting: what it is, its default ("": none), the words it may be, and whether it is a path."""

    about: str
    default: str = ""
    choices: tuple[str, ...] = ()
    path: bool = False


KEYS: dict[str, Key] = {
    "nats": Key("NATS server, several with commas between them"),
    "arena": Key("name of the arena, where a server has several"),
    "credentials": Key("file that proves who you are to the server (.creds)", path=True),
    "home": Key("folder of the store, of caches and of the projection", path=True),
    "output": Key("what listings print", "text", ("text", "json")),
    "color": Key("whether text is coloured; auto: on a terminal", "auto", ("auto", "always", "never")),
}

CONTEXT_KEYS = ("nats", "arena", "credentials")
DEFAULT = "default"


class Layer(msgspec.Struct, frozen=True):
    """What one source says; `is_environment` where each setting is a variable of its own."""

    source: str
    values: Mapping[str, str]
    is_environment: bool = False


class Value(msgspec.Struct, frozen=True):
    """A setting's value ("": none) and the source that gives it."""

    value: str
    source: str


class Contexts(msgspec.Struct, frozen=True):
    """Named places to work with, and which of them is in use ("": none)."""

    use: str = ""
    named: Mapping[str, Mapping[str, str]] = {}


def resolve(layers: Sequence[Layer]) -> dict[str, Value]:
    """Return every setting out of layers, the strongest first.

    Credentials are for the server that was named beside them: where a stronger layer names another server, a weaker
    layer's credentials are not shown to it. Those of the environment go with any.
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
        found["credentials"] = Value("", f"not those of {layers[has].source}: {found['nats'].source} names the server")
    return found


def _place(name: str, layers: Sequence[Layer]) -> int | None:
    return next((at for at, layer in enumerate(layers) if layer.values.get(name)), None)


def _source(layer: Layer, name: str) -> str:
    return variable(name) if layer.is_environment else layer.source


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"MESH_{name.upper()}"


def from_environment(environment: Mapping[str, str]) -> Layer:
    """Return what `MESH_NATS` and its like say; an empty variable says nothing.

    Raises:
        BadInput: one is none of the words it may be.
    """
    named = {name: environment.get(variable(name), "") for name in KEYS}
    values = {name: _checked(name, value, variable(name)) for name, value in named.items() if value}
    return Layer("environment", values, is_environment=True)


def read(text: str, source: str) -> Layer:
    """Return what the TOML of the file `source` says; relative paths are those of its folder.

    Raises:
        BadInput: it is no TOML, or holds what is no setting or has another type.
    """
    return Layer(source, _table(_toml(text, source), source, "", tuple(KEYS)))


def read_contexts(text: str, source: str) -> Contexts:
    """Return the contexts that the TOML of the file `source` holds; raises as `read`."""
    body = _toml(text, source)
    _known(body, ("use", "context"), source, "")
    named, use = body.get("context", {}), body.get("use", "")
    if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
        raise BadInput(f"{source}: a context is a table such as [context.lab]")
    tables = {name: _table(t, source, f"context.{name}.", CONTEXT_KEYS) for name, t in named.items()}
    if not isinstance(use, str) or (use and use not in tables):
        raise BadInput(f"{source}: use is {use!r}, which is no context of it ({', '.join(tables) or 'it has none'})")
    return Contexts(use, tables)


def write_contexts(contexts: Contexts) -> str:
    """Return contexts as the TOML that `read_contexts` takes."""
    lines = ["# Written by `mesh context`.", *([f"use = {_quoted(contexts.use)}"] if contexts.use else [])]
    for name, table in contexts.named.items():
        lines += ["", f"[context.{_quoted(name)}]", *(f"{key} = {_quoted(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def hide(value: str) -> str:
    """Return an address without the user, password or token in it: `nats://***@host`."""
    servers = re.split(r",(?=\s*\w+://)", value)
    return ",".join(re.sub(r"^(\s*\w+://)?.*@", lambda m: f"{m[1] or ''}***@", server) for server in servers)


def _toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source} is not valid TOML: {error}") from None


def _known(table: Mapping[str, Any], keys: Sequence[str], source: str, prefix: str) -> None:
    for name in table:
        if name not in keys:
            raise BadInput(f"{source}: there is no setting {prefix + name!r}; there are {', '.join(keys)}")


def _table(table: Mapping[str, Any], source: str, prefix: str, keys: Sequence[str]) -> dict[str, str]:
    _known(table, keys, source, prefix)
    values = {}
    for name, value in table.items():
        if not isinstance(value, str):
            raise BadInput(f"{source}: {prefix}{name} is {hide(repr(value))}, which is no text: write it in quotes")
        checked = _checked(name, value, f"{source}: {prefix}{name}")
        is_path = KEYS[name].path and value and not value.startswith("~")
        values[name] = str(Path(source).parent / checked) if is_path else checked
    return values


def _checked(name: str, value: str, where: str) -> str:
    choices = KEYS[name].choices
    if choices and value not in choices:
        raise BadInput(f"{where} is {value!r}, but may only be {', '.join(choices)}")
    if not value.isprintable():
        raise BadInput(f"{where} is {value!r}, which holds control characters")
    return value


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
