"""The settings in force with their sources, and the folders of a mesh.

A setting comes from the first of: an option, `MESH_*`, the nearest `mesh.toml` at or above the current folder, for the
arena the nearest `arena.toml` there, the context in use, the user's `config.toml`, its default. A context that
`MESH_CONTEXT` names comes before `mesh.toml`.

The home (`.mesh`) is the setting `home`. Without one it is the nearest `.mesh` at or above the current folder, as git
finds `.git`; else `.mesh` in the current folder. It has the embedded server's store, caches and the projection. Only
the store cannot be rebuilt.
"""

import os
import platform
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mesh import config
from mesh.atomic_write import atomic_write
from mesh.errors import BadInput

ARENA_FILE = "arena.toml"
MAX_OWNER = 64
SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""Last words of the names of secret environment variables, which processes get only if they need them."""


def values(*, nats: str | None = None) -> dict[str, config.Value]:
    """Return every setting with its source.

    Args:
        nats: the option `--nats`, None if it was not given.

    Raises:
        BadInput: a file or variable has an unknown setting or a value that is not valid.
    """
    option = [config.Layer("--nats", {"nats": nats})] if nats else []
    return config.resolve([*option, *layers()])


def value(key: str, given: str | None = None) -> str:
    """Return the value of a setting, "" if it has none; raises as `values`.

    Args:
        key: the setting.
        given: the value of the option, which wins; None if it was not given.
    """
    return given or values()[key].value


def credentials(nats: str | None = None) -> Path | None:
    """Return the file with our credentials for the server in force, None if there is none; raises as `values`.

    Args:
        nats: the option `--nats`, None if it was not given.
    """
    named = values(nats=nats)["credentials"].value
    return Path(named).expanduser().absolute() if named else None


def layers() -> list[config.Layer]:
    """Return the settings of each source, the strongest first; raises as `values`."""
    environment = config.from_environment(os.environ)
    found = contexts()
    wanted = os.environ.get("MESH_CONTEXT", "")
    if wanted and wanted not in found.named:
        raise BadInput(f"MESH_CONTEXT is {wanted!r}, which is not a context: `mesh context list` lists them")
    chosen = wanted or found.use
    context = [config.Layer(f"context {chosen}", found.named[chosen])] if chosen else []
    files = [[_layer(path)] if path else [] for path in (project_file(), user_file())]
    project, user = files
    here = arena_here()
    own = [config.Layer(str(here[0] / ARENA_FILE), {"arena": here[1]})] if here else []
    return [environment, *(context if wanted else []), *project, *own, *([] if wanted else context), *user]


def config_dir() -> Path:
    """Return the folder of the user's settings: `mesh` in `XDG_CONFIG_HOME`, by default in `~/.config`."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".config") / "mesh"


def user_file() -> Path | None:
    """Return the file of the user's settings, None if there is none."""
    path = config_dir() / "config.toml"
    return path if _is_there(path) else None


def project_file() -> Path | None:
    """Return the nearest `mesh.toml` at or above the current folder, None if there is none."""
    here = Path.cwd()
    return next((d / "mesh.toml" for d in (here, *here.parents) if _is_there(d / "mesh.toml")), None)


def arena_here() -> tuple[Path, str] | None:
    """Return the nearest folder with an `arena.toml` at or above the current one and the arena's name, None without."""
    here = Path.cwd()
    folder = next((d for d in (here, *here.parents) if _is_there(d / ARENA_FILE)), None)
    if folder is None:
        return None
    try:
        name = tomllib.loads((folder / ARENA_FILE).read_text(encoding="utf-8"))["arena"]["name"]
    except (OSError, ValueError, LookupError, TypeError):  # whoever reads the whole file says what is wrong with it
        return None
    return (folder, name) if isinstance(name, str) and name else None


def contexts_file() -> Path:
    """Return the file of the user's contexts."""
    return config_dir() / "contexts.toml"


def contexts() -> config.Contexts:
    """Return the user's contexts.

    Raises:
        BadInput: their file cannot be read.
    """
    path = contexts_file()
    return config.read_contexts(_text(path), str(path)) if _is_there(path) else config.Contexts()


def save_contexts(changed: config.Contexts) -> None:
    """Replace the user's contexts in one step, in a file that only the user may read.

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
    """Tell whether only its owner may read or change a file; true for a file that does not exist."""
    try:
        return path.stat().st_mode & 0o077 == 0
    except OSError:
        return True


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a folder above it is closed to this user
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None


def _layer(path: Path) -> config.Layer:
    return config.read(_text(path), str(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path} is not valid TOML: it is not UTF-8") from None


def home() -> Path:
    """Return the home folder, which may not exist yet.

    Raises:
        BadInput: a settings file is not valid.
    """
    if named := value("home"):
        return Path(named).expanduser().resolve()
    here = Path.cwd()
    found = next((d / ".mesh" for d in (here, *here.parents) if (d / ".mesh").is_dir()), None)
    return found or here / ".mesh"


def make_home(home: Path) -> None:
    """Make the home folder, and have git pass over it: it often lies in the folder of a project.

    A new one of root can be entered by the users of trials, whatever umask it has. Where it cannot be written to, the
    server says so when it starts.
    """
    with suppress(OSError):
        new = [path for path in (home, *home.parents) if not path.exists()]
        home.mkdir(parents=True, exist_ok=True)
        for path in new if os.geteuid() == 0 else ():
            path.chmod(path.stat().st_mode | 0o011)
        marker = home / ".gitignore"
        if not marker.exists():
            marker.write_text("*\n", encoding="utf-8")


def server_dir(home: Path) -> Path:
    """Return the folder of the embedded server: store, configuration, log and address."""
    return home / "server"


def database(home: Path) -> Path:
    """Return the DuckDB file of the projector."""
    return home / "mesh.duckdb"


def code_dir(home: Path, arena: str) -> Path:
    """Return the bare git repository that caches an arena's commits."""
    return home / "code" / f"{arena}.git"


def origin_file(home: Path, arena: str) -> Path:
    """Return the file that says which folder an arena was last opened from."""
    return home / "origins" / arena


def page_port_file(home: Path) -> Path:
    """Return the file that keeps the port of the home's page."""
    return home / "page-port"


def objects_dir(home: Path, arena: str) -> Path:
    """Return the folder that caches an arena's prepared data."""
    return home / "data" / arena


def leak_index_file() -> Path:
    """Return the file that keeps fingerprints of this machine's files, for all homes of the user."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "mesh" / "leak-index"


def environments_dir() -> Path:
    """Return the folder that keeps environments of tasks which were built on this machine, for all homes of the user.

    That of root is outside of its home, which the users of trials cannot enter.
    """
    given = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(given) and os.geteuid() == 0:
        return Path("/var/cache/mesh/environments")
    return (Path(given) if os.path.isabs(given) else Path.home() / ".cache") / "mesh" / "environments"


def sources_dir(home: Path) -> Path:
    """Return the folder that keeps the hashes of the sources of data."""
    return home / "sources"


def snapshot_file(home: Path, arena: str) -> Path:
    """Return the snapshot file from which a board starts."""
    return home / "boards" / f"{arena}.msgpack"


def takes_boards() -> bool:
    """Tell whether boards are taken that others hand on (`mesh.swarm_boards`); raises as `values`."""
    return value("boards") == "swarm"


def unposted_calls_file(home: Path, arena: str, name: str) -> Path:
    """Return the file with the model calls of an agent whose cost is in no fact yet."""
    return home / "calls" / arena / f"{name}.json"


def names_dir(home: Path, arena: str) -> Path:
    """Return the folder with the names of agents to which nobody gave one."""
    return home / "names" / arena


def coders_dir(home: Path, arena: str) -> Path:
    """Return the folder of the runs of coding agents in an arena."""
    return home / "coders" / arena


def marks_file(home: Path, arena: str, user: str) -> Path:
    """Return the file with the last notes that a user has read in an arena."""
    return home / "read" / f"{arena}-{user}.json"


def private_dir(home: Path) -> Path:
    """Return the folder in which data is prepared that only a score program may see."""
    return home / "preparing"


def prepare_log(home: Path, arena: str) -> Path:
    """Return the file that keeps what the last `artifact.prepare` of an arena printed."""
    return home / "logs" / f"prepare-{arena}.log"


def judge_dir(home: Path, arena: str) -> Path:
    """Return the folder of what the models of an arena's judge have cost and answered on this machine."""
    return home / "judge" / arena


def runs_dir(home: Path) -> Path:
    """Return the folder in which workers prepare and run trials."""
    return home / "runs"


def builds_dir(home: Path) -> Path:
    """Return the folder that keeps what builds of accepted artifacts left (`artifact.cache`)."""
    return home / "builds"


def host() -> str:
    """Return this machine's name."""
    return platform.node() or "localhost"


def owner() -> str:
    """Return who answers for what starts here, from the variable `MESH_OWNER`; "" if nobody is named."""
    return os.environ.get("MESH_OWNER", "").strip()[:MAX_OWNER]


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without its secrets: variables whose names end in `SECRETS`."""
    return {name: value for name, value in environ.items() if not name.upper().endswith(SECRETS)}
