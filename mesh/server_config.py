"""The configuration file of the embedded server, and how long it may take to start."""

import os
import re
from contextlib import suppress
from pathlib import Path

_START_WITHIN_S = 30.0
_READ_BYTES_PER_S = 50e6
"""A server reads its whole store before it answers: 13 GB took 55 s (`benchmarks/parts/log_at_size.py`)."""


def server_config(folder: Path, name: str, port: int, sync: str) -> bytes:
    """Return the configuration of the server of one store.

    Args:
        folder: folder of the store.
        name: name of the server, which nobody else has.
        port: port on loopback; -1 lets the system choose.
        sync: `always`, or how often the server flushes to disk, such as `2m`.
    """
    text = f"""# Written by the mesh at every start.
server_name: {name}
host: "127.0.0.1"
port: {port}
ports_file_dir: {config_string(folder)}
log_file: {config_string(folder / "server.log")}
max_payload: 1048576
write_deadline: "10s"
jetstream {{
  store_dir: {config_string(folder / "store")}
  sync_interval: {sync}
}}
"""
    return text.encode("utf-8", "surrogateescape")


def start_within_s(folder: Path) -> float:
    """Return the seconds within which the server of the store in `folder` must answer: more for a large store."""
    size = 0
    for place, _, names in os.walk(folder / "store"):
        for name in names:
            with suppress(OSError):  # the server deletes files meanwhile
                size += os.stat(os.path.join(place, name)).st_size
    return _START_WITHIN_S + size / _READ_BYTES_PER_S


def config_string(path: Path) -> str:
    r"""Return a path as a string of the server's configuration, which knows `\"`, `\\` and `\xHH`, but not `\uHHHH`."""
    return '"' + re.sub(r'[\x00-\x1f"\\]', lambda found: f"\\x{ord(found[0]):02x}", str(path)) + '"'
