"""Where things are: the home folder of a mesh, and what the environment says.

A home (`.mesh`) is found as git finds `.git`: `MESH_HOME`, else the nearest one at or above the current folder, else
`.mesh` here. It holds the embedded server's store, caches and the projection; only the server's store is truth.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""How the names of variables end that only those get who need them."""


def home() -> Path:
    """Return the home folder (it may not exist yet)."""
    named = os.environ.get("MESH_HOME")
    if named:
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    found = next((d / ".mesh" for d in (here, *here.parents) if (d / ".mesh").is_dir()), None)
    return found or here / ".mesh"


def server_dir(home: Path) -> Path:
    """Return the folder of the embedded server: store, configuration, log and address."""
    return home / "server"


def database(home: Path) -> Path:
    """Return the DuckDB file of the projector."""
    return home / "mesh.duckdb"


def code_dir(home: Path, arena: str) -> Path:
    """Return the bare git repository that caches an arena's commits."""
    return home / "code" / f"{arena}.git"


def objects_dir(home: Path, arena: str) -> Path:
    """Return the folder that caches an arena's protected data."""
    return home / "data" / arena


def snapshot_file(home: Path, arena: str) -> Path:
    """Return the file from which a board starts without folding the log from zero."""
    return home / "boards" / f"{arena}.msgpack"


def runs_dir(home: Path) -> Path:
    """Return the folder in which workers lay out trials."""
    return home / "runs"


def host() -> str:
    """Return this machine's name."""
    return platform.node() or "localhost"


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what is called a key, token, secret or password: for whom it is no business of."""
    return {name: value for name, value in environ.items() if not name.upper().endswith(SECRETS)}
