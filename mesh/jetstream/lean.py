"""Imports nats-py without aiohttp, which nats-py imports if it is installed but uses only for `ws://` addresses.

Model libraries install aiohttp, and its import then takes most of the start of a command. So this module hides aiohttp
while it imports nats-py. `allow_websockets` adds it if an address needs it. It also keeps a remark of asyncio away,
which nats-py causes whenever a connection with TLS ends.
"""

import importlib
import logging
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
logging.getLogger("asyncio").addFilter(lambda record: "eof_received() has no effect" not in str(record.msg))


def allow_websockets(servers: Iterable[str]) -> None:
    """Give nats-py aiohttp if an address begins with `ws://` or `wss://`; nats-py reports if it is not installed."""
    if any(server.startswith(("ws://", "wss://")) for server in servers):
        with suppress(ImportError):
            for name in _OPTIONAL:
                setattr(_transport, name, importlib.import_module(name))
