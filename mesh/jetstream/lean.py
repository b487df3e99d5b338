"""nats-py without aiohttp: it imports that wherever it is installed, for `ws://` addresses alone.

Beside a model library, which brings aiohttp, this is two thirds of the import and most of the start of a command. So it
is hidden while nats-py is imported, and given to it by `allow_websockets` where an address asks for it.
"""

import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

_OPTIONAL = ("aiohttp", "multidict")


def _import_lean() -> Any:
    hidden = [name for name in _OPTIONAL if name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    for name in hidden:
        modules[name] = None  # an import of it fails, as if it were not installed
    try:
        return importlib.import_module("nats.aio.transport")
    finally:
        for name in hidden:
            del modules[name]


_transport = _import_lean()


def allow_websockets(servers: Iterable[str]) -> None:
    """Let nats-py have aiohttp if an address is `ws://` or `wss://`; where it is not installed, nats-py says so."""
    if any(server.startswith(("ws://", "wss://")) for server in servers):
        with suppress(ImportError):
            for name in _OPTIONAL:
                setattr(_transport, name, importlib.import_module(name))
