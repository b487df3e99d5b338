"""Where things are: the settings in force and who gives them, and the home folder of a mesh.

A setting comes from the first of: an option, `MESH_*`, the nearest `mesh.toml` at or above the current folder, the
context in use, the user's `config.toml`, its default. The context that `MESH_CONTEXT` names stands above `mesh.toml`.

A home (`.mesh`) is the setting `home`, else found as git finds `.git`: the nearest one at or above the current folder,
else `.mesh` here. It holds the embedded server's store, caches and the projection; only the server's store is truth.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from mesh import config
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput

SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""How the names of variables end that only those get who need them."""


def values(*, nats: str | None = None) -> dict[str, config.Value]:
    """Return every setting with the source that gives it; `nats` is what the option `--nats` says.

    Raises:
        BadInput: a file or variable holds what is no setting.
    """
    option = [config.Layer("--nats", {"nats": nats})] if nats else []
    return config.resolve([*option, *layers()])


def value(key: str, given: str | None = None) -> str:
    """Return a setting, `given` (an option's value) where there is one; "" where nobody says; raises as `values`."""
    return given or values()[key].value


def credentials(nats: str | None = None) -> Path | None:
    """Return the file that proves who we are to the server in force, None where there is none; raises as `values`."""
    named = values(nats=nats)["credentials"].value
    return Path(named).expanduser().absolute() if named else None


def layers() -> list[config.Layer]:
    """Return what each source says, the strongest first; raises as `values`."""
    environment = config.from_environment(os.environ)
    found = contexts()
    wanted = os.environ.get("MESH_CONTEXT", "")
    if wanted and wanted not in found.named:
        raise BadInput(f"MESH_CONTEXT is {wanted!r}, but there is no such context: see `mesh context list`")
    chosen = wanted or found.use
    context = [config.Layer(f"context {chosen}", found.named[chosen])] if chosen else []
    files = [[_layer(path)] if path else [] for path in (project_file(), user_file())]
    project, user = files
    return [environment, *(context if wanted else []), *project, *([] if wanted else context), *user]


def config_dir() -> Path:
    """Return the folder of the user's own settings: `mesh` in `XDG_CONFIG_HOME`, by default in `~/.config`."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "mesh"


def user_file() -> Path | None:
    """Return the user's settings, None where there are none."""
    path = config_dir() / "config.toml"
    return path if path.is_file() else None


def project_file() -> Path | None:
    """Return the nearest `mesh.toml` at or above the current folder, None where there is none."""
    here = Path.cwd()
    return next((d / "mesh.toml" for d in (here, *here.parents) if (d / "mesh.toml").is_file()), None)


def contexts_file() -> Path:
    """Return where contexts are kept."""
    return config_dir() / "contexts.toml"


def contexts() -> config.Contexts:
    """Return the user's contexts.

    Raises:
        BadInput: their file cannot be read.
    """
    path = contexts_file()
    return config.read_contexts(_text(path), str(path)) if path.exists() else config.Contexts()


def save_contexts(changed: config.Contexts) -> None:
    """Replace the user's contexts at once, in a file that only the user may read.

    Raises:
        BadInput: the folder cannot be written.
    """
    path = contexts_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(path, private=True) as beside:
            beside.write_text(config.write_contexts(changed), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None


def is_private(path: Path) -> bool:
    """Tell whether nobody but its owner may read or change a file; one that does not exist is."""
    try:
        return path.stat().st_mode & 0o077 == 0
    except OSError:
        return True


def _layer(path: Path) -> config.Layer:
    return config.read(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not valid TOML: it is no UTF-8") from None


def home() -> Path:
    """Return the home folder (it may not exist yet).

    Raises:
        BadInput: a file of settings cannot be used.
    """
    if named := value("home"):
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


def marks_file(home: Path, arena: str, user: str) -> Path:
    """Return the file that says how far a user has read the channels of an arena."""
    return home / "read" / f"{arena}-{user}.json"


def runs_dir(home: Path) -> Path:
    """Return the folder in which workers lay out trials."""
    return home / "runs"


def host() -> str:
    """Return this machine's name."""
    return platform.node() or "localhost"


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what is called a key, token, secret or password: for whom it is no business of."""
    return {name: value for name, value in environ.items() if not name.upper().endswith(SECRETS)}
