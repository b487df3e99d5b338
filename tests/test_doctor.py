"""`mesh doctor`: every trouble is named with its cure, and the exit code says whether something failed."""

import datetime as dt
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from mesh import settings
from mesh.events import NotePosted
from mesh.jetstream import connect
from mesh.jetstream.server_state import StreamSize, stream_sizes
from mesh.server import EmbeddedServer
from mesh.testing import BEGAN
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from mesh_cli.setup import checks, doctor
from mesh_cli.setup.checks import Finding, Package
from mesh_cli.setup.doctor import installed_packages
from tests.support.arenas import write_arena
from tests.test_cli import Mesh, mesh, serving

__all__ = ["mesh"]

NAMES = {"settings", "versions", "nats-server", "home", "disk", "sandbox", "GPU", "model keys", "server"}


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that does not exist yet, and a user without settings or keys."""
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("MESH_NATS", raising=False)
    monkeypatch.setenv("MESH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def found(mesh: Mesh, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and of each name the worst finding."""
    done = mesh("doctor", "--json", *words)
    assert done.err == ""
    rows = sorted(json.loads(done.out), key=lambda row: ["ok", "warn", "fail"].index(row["state"]))
    return done.code, {row["name"]: row for row in rows}


def test_where_no_mesh_ever_ran_nothing_fails_and_the_next_step_is_said(alone: Path, mesh: Mesh) -> None:
    code, rows = found(mesh)
    assert code == ExitCode.OK
    assert rows.keys() >= NAMES
    assert (rows["server"]["state"], rows["server"]["what"]) == ("warn", "there is no log here yet")
    assert rows["server"]["cure"].startswith("run mesh up ARENA")
    assert "does not exist yet" in rows["home"]["what"]
    assert not (alone / "home").exists()


def test_a_log_is_looked_at_and_no_server_stays(alone: Path, mesh: Mesh) -> None:
    with serving(alone / "home"):
        assert mesh("open", write_arena(alone / "arena")).code == 0
    code, rows = found(mesh)
    assert code == ExitCode.OK
    assert {rows[name]["state"] for name in ("home", "disk", "server", "log", "clock")} == {"ok"}
    assert rows["growth"]["what"] == "the logs are less than an hour old: too young for a forecast"
    assert rows["log"]["what"].startswith("arena tiny: 1 entry")
    assert (rows["projector"]["state"], rows["projector"]["what"]) == ("warn", "no projector is running")
    again = mesh("doctor")
    assert "ok    server       nats://127.0.0.1:" in again.out
    port = int(json.loads((settings.server_dir(alone / "home") / "server.json").read_text())["url"].rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_a_server_that_cannot_be_reached_fails(alone: Path, mesh: Mesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        mute.close()
        code, rows = found(mesh, "--nats", f"nats://ann:geheim@127.0.0.1:{port}")
    assert (code, rows["server"]["state"]) == (ExitCode.FAILED, "fail")
    assert f"no NATS server answers at nats://127.0.0.1:{port}" in rows["server"]["what"]
    assert rows["server"]["cure"]
    assert "geheim" not in json.dumps(rows)


def test_a_store_that_is_no_store_fails(alone: Path, mesh: Mesh) -> None:
    server = alone / "home" / "server"
    server.mkdir(parents=True)
    (server / "store").write_text("not a folder")
    code, rows = found(mesh)
    assert (code, rows["store"]["state"]) == (ExitCode.FAILED, "fail")
    assert rows["store"]["what"] == f"{server / 'store'} is not a folder"
    assert rows["server"]["state"] == "fail"


def test_a_home_that_is_a_file_fails(alone: Path, mesh: Mesh) -> None:
    (alone / "home").write_text("")
    code, rows = found(mesh)
    assert (code, rows["home"]["state"]) == (ExitCode.FAILED, "fail")
    assert rows["home"]["what"] == f"{alone / 'home'} is not a folder"


def test_settings_that_cannot_be_read_are_a_finding_and_not_the_end(
    alone: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    (alone / "mesh.toml").write_text("nast = 1")
    monkeypatch.chdir(alone)
    code, rows = found(mesh)
    assert (code, rows["settings"]["state"]) == (ExitCode.FAILED, "fail")
    assert "there is no setting 'nast'" in rows["settings"]["what"]
    assert rows["versions"]["state"] == "ok"


def test_contexts_that_others_can_read_are_warned_of(alone: Path, mesh: Mesh) -> None:
    assert mesh("context", "add", "lab", "--nats", "lab").code == 0
    settings.contexts_file().chmod(0o640)
    _, rows = found(mesh)
    assert (rows["settings"]["state"], rows["settings"]["cure"]) == ("warn", f"chmod 600 {settings.contexts_file()}")


def test_keys_are_named_and_never_printed(alone: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-geheim")
    for words in ([], ["--json"]):
        done = mesh("doctor", *words)
        assert "OPENAI_API_KEY" in done.out
        assert "geheim" not in done.out + done.err


@pytest.mark.parametrize(
    ("program", "what"),
    [
        ("#!/bin/sh\necho nats-server: v2.9.1\n", "version v2.9.1 is too old: the log needs 2.12"),
        ("\0", "cannot be run: Exec format error"),
        ("#!/bin/sh\nexec tail -f /dev/null\n", "did not print its version within 1 s"),
    ],
)
def test_a_program_that_cannot_serve_the_log_fails(
    alone: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch, program: str, what: str
) -> None:
    monkeypatch.setattr(doctor, "PROGRAM_WITHIN_S", 1.0 if "within 1 s" in what else 60.0)
    path = alone / "nats-server"
    path.write_text(program)
    path.chmod(0o755)
    monkeypatch.setenv("MESH_NATS_SERVER", str(path))
    code, rows = found(mesh)
    assert (code, rows["nats-server"]["state"]) == (ExitCode.FAILED, "fail")
    assert rows["nats-server"]["what"].endswith(what)


def test_what_failed_has_a_cure_on_a_line_of_its_own(alone: Path, mesh: Mesh) -> None:
    (alone / "home").write_text("")
    lines = mesh("doctor").out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  home"))
    assert lines[at + 1].strip().startswith("cure: set MESH_HOME to another folder")


def test_our_own_requirements_are_what_is_looked_for() -> None:
    packages = {package.name: package for package in installed_packages()}
    assert packages["duckdb"].extra == "analytics"
    assert packages["msgspec"].extra == ""
    assert "!=1.82.7" in packages["litellm"].needs
    assert "pytest" not in packages


def test_versions_that_are_malicious_or_do_not_fit_or_are_missing_are_named() -> None:
    findings = checks.judge_packages(
        [
            Package("litellm", "1.82.8", "!=1.82.8,<2", fits=False, extra="models"),
            Package("duckdb", "1.4.0", "<3,>=2.0", fits=False, extra="analytics"),
            Package("msgspec", "", ">=0.22", fits=True),
            Package("torch", "", ">=2.10", fits=True, extra="worker"),
            Package("anyio", "4.16.0", ">=4.13", fits=True),
        ]
    )
    assert [(finding.state, finding.what) for finding in findings] == [
        ("fail", "litellm 1.82.8 is malicious: it steals keys"),
        ("fail", "duckdb 1.4.0 does not fit; the mesh needs <3,>=2.0"),
        ("fail", "msgspec is missing"),
        ("ok", "anyio 4.16.0; not installed: torch (worker)"),
    ]
    assert "revoke every key that it could read" in findings[0].cure
    assert findings[1].cure == "pip install 'duckdb<3,>=2.0'"


@pytest.mark.parametrize(
    ("version", "state"), [("v2.15.1", "ok"), ("v2.12.0", "ok"), ("v2.11.9", "fail"), ("v1.4", "fail"), ("x", "warn")]
)
def test_a_server_that_is_too_old_fails(version: str, state: str) -> None:
    assert checks.judge_server_program(version, (2, 12)).state == state


@pytest.mark.parametrize(("free_gb", "state"), [(100.0, "ok"), (4.9, "warn"), (0.4, "fail"), (0.0, "fail")])
def test_a_full_disk_fails(free_gb: float, state: str) -> None:
    assert checks.judge_disk("/", int(free_gb * 1e9), 0).state == state


@pytest.mark.parametrize(
    ("off_s", "state", "what"),
    [
        (0.0, "ok", "within 0.1 s of the server"),
        (1.5, "ok", "within 1.5 s of the server"),
        (10.0, "warn", "this machine is 10.0 s behind the server"),
        (-10.0, "warn", "this machine is 10.0 s ahead of the server"),
    ],
)
def test_a_clock_that_is_off_is_warned_of(off_s: float, state: str, what: str) -> None:
    finding = checks.judge_clock(BEGAN + dt.timedelta(seconds=off_s), BEGAN, BEGAN)
    assert (finding.state, finding.what) == (state, what)


def test_a_slow_answer_is_no_wrong_clock() -> None:
    late = BEGAN + dt.timedelta(seconds=30)
    assert checks.judge_clock(BEGAN + dt.timedelta(seconds=15), BEGAN, late).state == "ok"


def test_a_log_whose_copies_are_behind_is_warned_of() -> None:
    assert checks.judge_log("a", 1200, 3_000_000, "", {}).what == "arena a: 1,200 entries, 3.0 MB"
    whole = checks.judge_log("a", 1, 0, "n1", {"n3": "current", "n2": "current"})
    assert (whole.state, whole.what) == ("ok", "arena a: 1 entry, 0.0 MB, leader n1, n2 current, n3 current")
    behind = checks.judge_log("a", 1, 0, "n1", {"n3": "offline", "n2": "behind by 7"})
    assert behind.state == "warn"
    assert behind.what.endswith("leader n1, n2 behind by 7, n3 offline")
    assert behind.cure == "start n2, n3, or wait; stop no other server before all are current"
    alone = checks.judge_log("a", 1, 0, "n1", {})
    assert (alone.state, alone.what) == ("warn", "arena a: 1 entry, 0.0 MB, on server n1 of a cluster alone")


def test_a_projector_that_lies_behind_is_warned_of() -> None:
    assert checks.judge_lag({"a": 10, "b": 5000}, {"a": 10, "b": 1000}).what == "4,000 entries behind in arena b"
    assert checks.judge_lag({"a": 5000}, {}).state == "warn"
    assert checks.judge_lag({"a": 10}, {"a": 20}) == Finding("projector", "ok", "0 entries behind at most")


def test_a_gpu_that_torch_cannot_use_is_warned_of() -> None:
    assert checks.judge_gpu([], "2.13.0+cpu", cuda=False).what == "no GPU; workers on this machine use the CPU"
    assert checks.judge_gpu(["NVIDIA H100"], "2.13.0+cpu", cuda=True).state == "warn"
    assert checks.judge_gpu(["NVIDIA H100"], "2.13.0", cuda=True).state == "ok"


def test_a_gpu_on_which_cuda_does_not_start_is_warned_of() -> None:
    found = checks.judge_gpu(["NVIDIA H100"], "2.13.0", cuda=False)
    assert (found.state, found.what) == ("warn", "NVIDIA H100, but CUDA does not start on this machine")


def test_keys_that_are_empty_or_of_no_use_are_warned_of() -> None:
    assert checks.judge_keys({"A_API_KEY": " "}, has_models=True).what == "empty: A_API_KEY"
    assert checks.judge_keys({"A_API_KEY": "x"}, has_models=False).state == "warn"
    assert checks.judge_keys({"A_API_KEY": "x", "B": "y"}, has_models=True).what == "set: A_API_KEY"


HOUR = dt.timedelta(hours=1)


def stream(size: int, age: dt.timedelta, last: dt.timedelta = dt.timedelta()) -> StreamSize:
    return StreamSize("MESH_a", size, BEGAN - age, BEGAN - last)


@pytest.mark.parametrize(
    ("streams", "free", "state", "what"),
    [
        ([stream(10**9, 10 * 24 * HOUR)], 30 * 10**9, "ok", "grows by 100.0 MB a day: its disk is full in 300.0 days"),
        ([stream(10**9, 24 * HOUR)] * 2, 10 * 10**9, "warn", "grows by 2,000.0 MB a day: its disk is full in 5.0 days"),
        ([stream(10**9, HOUR)], 10 * 10**9, "fail", "grows by 24,000.0 MB a day: its disk is full in 0.4 days"),
        ([stream(10**6, 24 * HOUR)], 10**12, "ok", "grows by 1.0 MB a day: the disk lasts for years"),
        ([stream(10**9, 24 * HOUR)], None, "ok", "grows by 1,000.0 MB a day; its disk is on another machine"),
        ([stream(10**9, HOUR / 2)], 10**9, "ok", "the logs are less than an hour old: too young for a forecast"),
        ([stream(10**9, 48 * HOUR, 25 * HOUR)], 10**9, "ok", "the logs are not written to for a day"),
        ([stream(10**9, 48 * HOUR, 25 * HOUR), stream(10**6, 24 * HOUR)], 10**7, "warn", "1.0 MB a day: its disk is"),
    ],
)
def test_the_growth_of_the_logs_says_when_the_disk_is_full(
    streams: list[StreamSize], free: int | None, state: str, what: str
) -> None:
    finding = checks.judge_growth(streams, BEGAN, free)
    assert (finding.name, finding.state) == ("growth", state)
    assert what in finding.what
    assert bool(finding.cure) == (state != "ok")


async def test_a_server_tells_how_large_and_how_old_its_streams_are(server: EmbeddedServer) -> None:
    async with connect(server.url) as hub:
        assert await stream_sizes(hub.link) == []
        bus = await hub.arena("a", create=True)
        await bus.post(Post.new("ann", NotePosted(channel="c", text="one")))
        first = (await stream_sizes(hub.link))[0]
        await bus.post(Post.new("ann", NotePosted(channel="c", text="two" * 1000)))
        await bus.put("object", bytes(10_000))
        objects, log = sorted(await stream_sizes(hub.link), key=lambda each: each.name)
    assert (log.name, objects.name) == ("MESH_a", "MESHOBJ_a")
    assert log.first == first.first <= first.last <= log.last
    assert first.bytes + 3000 < log.bytes
    assert objects.bytes > 10_000
