"""What tools and other systems leave in the folders that people work in: environments, caches, logs, results.

`leaving` names it. It goes by names and by marks that tools put into their folders, never by contents.
"""

import os
import re
import stat
from collections.abc import Callable
from functools import lru_cache

from pathspec import GitIgnoreSpec

CHECKOUT_NOTE = ".mesh-checkout.json"
"""File by which a folder remembers which proposal `mesh checkout` put there."""

NEVER_TAKEN = frozenset({".git", ".mesh", "__pycache__", ".DS_Store", CHECKOUT_NOTE})
"""Names that are no part of any artifact, and that no listing shows."""
CACHE = "a tool's cache"
EMPTY_FOLDER = ".gitkeep"
"""Name of the empty file by which an empty folder is kept in a commit."""
_KEYS = (
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", ".netrc", ".pypirc", ".npmrc"),
    *(".git-credentials", ".envrc", ".ssh", ".aws", ".azure", ".kube", ".gnupg"),
)
_LIKE_KEYS = re.compile(r"(?:^|[._-])(?:secrets?|credentials?|api[_-]?keys?)(?:[._-]|$)|\.(?:env|pem|key|p12)$", re.I)
_KEPT_IN = (
    ".yaml",
    ".yml",
    ".json",
    ".toml",
    ".ini",
    ".cfg",
    ".conf",
    ".txt",
    ".env",
    ".pem",
    ".key",
    ".p12",
    ".properties",
)
_SAMPLES = (".example", ".sample", ".template", ".dist")

_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("packages of npm", ("node_modules/",)),
    (
        CACHE,
        (
            *(".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".ipynb_checkpoints/", ".hypothesis/", ".cache/"),
            *("htmlcov/", ".coverage", "*.py[co]", "*.swp", "*~", "Thumbs.db", ".idea/", ".vscode/", ".gradle/"),
        ),
    ),
    ("a virtualenv", (".venv/", ".tox/", ".nox/", ".eggs/")),
    ("made by pip", ("*.egg-info/",)),
    ("a tracker's folder", ("wandb/", "mlruns/", "mlartifacts/", "lightning_logs/", "/mlflow.db", "events.out.tf*")),
    (
        "left by another system",
        ("openevolve_output*", "/shinka_results*", "/results_*/", "evolution_db*", "evolution.db", "programs.sqlite"),
    ),
    ("results", ("/results/", "/results.tsv", "/outputs/")),
    ("checkpoints", ("/checkpoints/", "/ckpt/", "/ckpts/")),
    ("a log", ("*.log", "*.log.[0-9]*", "nohup.out", "/logs/")),
    (
        "left by a profiler",
        (
            *("perf.data", "perf.data.old", "gmon.out", "*.gcda", "*.gcno", "callgrind.out.*", "cachegrind.out.*"),
            *("massif.out.*", "vgcore.*", "*.prof", "*.nsys-rep", "*.ncu-rep"),
        ),
    ),
    ("a former arena.toml", ("/arena.toml.bak*",)),
    ("a database's journal", ("*-journal", "*-wal", "*-shm")),
)
_DATABASE = ("*.sqlite", "*.sqlite3", "*.db", "*.duckdb")


def is_secret(name: str) -> bool:
    """Tell whether a file or folder of this name holds keys, which no worker and no model gets."""
    return name in _KEYS or name == ".env" or (name.startswith(".env.") and not name.endswith(_SAMPLES))


def may_be_secret(name: str) -> bool:
    """Tell whether a file of this name may hold keys, where git ignores it: it is taken only if the owner names it."""
    return _LIKE_KEYS.search(name) is not None


def keeps_secrets(name: str) -> bool:
    """Tell whether a file of this name keeps keys, also where git does not ignore it: `secrets.yaml`, `prod.env`."""
    return may_be_secret(name) and (name.endswith(_KEPT_IN) or "." not in name)


def is_empty_folder(path: str, data: bytes) -> bool:
    """Tell whether a file only keeps a folder: no score depends on it."""
    return not data and path.rpartition("/")[2] == EMPTY_FOLDER


def leaving(path: str, folder: str, *, is_dir: bool, is_named: Callable[[str], bool]) -> str:
    """Return what a file or folder is that a tool or another system left, "" if it is none that is known.

    Args:
        path: its path in the folder of the arena.
        folder: the folder of the arena.
        is_dir: whether it is a folder.
        is_named: tells whether a program of the arena reads a file of this name: then a database is data.
    """
    spec, kinds = _patterns()
    found = spec.check_file(f"{path}/" if is_dir else path)
    if found.include and found.index is not None:
        return kinds[found.index]
    if is_dir:
        return _marked(os.path.join(folder, path))
    return "a database" if _databases().match_file(path) and not is_named(path) else ""


def _marked(folder: str) -> str:
    """Return what a mark in the folder says that it is."""
    if _is_file(folder, "pyvenv.cfg") or os.path.isdir(os.path.join(folder, "conda-meta")):
        return "a virtualenv"
    if _is_file(folder, os.path.join("server", "nats.conf")):
        return "a home of the mesh"
    if _is_file(folder, CHECKOUT_NOTE):
        return "a checkout of a proposal"
    if _is_file(folder, "CACHEDIR.TAG"):
        return CACHE
    if os.path.basename(folder) == "target" and _is_file(os.path.dirname(folder), "Cargo.toml"):
        return "made by cargo"
    return ""


def _is_file(folder: str, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(os.path.join(folder, name)).st_mode)
    except OSError:
        return False


@lru_cache(maxsize=1)
def _patterns() -> tuple[GitIgnoreSpec, tuple[str, ...]]:
    lines = [(pattern, kind) for kind, patterns in _KINDS for pattern in patterns]
    return GitIgnoreSpec.from_lines([pattern for pattern, _ in lines]), tuple(kind for _, kind in lines)


@lru_cache(maxsize=1)
def _databases() -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(_DATABASE)
