"""How commands end when a signal or a reader ends them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from mesh_cli.exit import ExitCode
from tests.support.arenas import write_arena
from tests.test_cli import Lab, Mesh, lab, mesh, serving

__all__ = ["lab", "mesh"]


def test_ctrl_c_is_how_following_ends_and_stops_a_command_that_waits(lab: Lab) -> None:
    command = [sys.executable, "-m", "mesh_cli"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*command, "tail", "--follow", "-n", "1"], **pipes) as following:
        assert following.stdout is not None
        assert following.stdout.readline().strip()
        following.send_signal(signal.SIGINT)
        assert (*following.communicate(timeout=100), following.returncode) == (b"", b"", ExitCode.OK)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"nats://127.0.0.1:{mute.getsockname()[1]}"
        with subprocess.Popen([*command, "status", "--nats", url], **pipes) as waiting:
            accepted, _ = mute.accept()
            with accepted:
                waiting.send_signal(signal.SIGINT)
                assert (*waiting.communicate(timeout=100), waiting.returncode) == (b"", b"", ExitCode.INTERRUPTED)


def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path: Path, mesh: Mesh) -> None:
    with serving(tmp_path / "home"):
        mesh("open", write_arena(tmp_path / "arena"))
        for _ in range(8):
            mesh("post", "general", "x" * 200_000)
        command = [sys.executable, "-m", "mesh_cli", "tail", "--json", "--no-follow"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as telling:
            assert telling.stdout is not None
            assert telling.stderr is not None
            assert telling.stdout.readline().startswith(b'{"seq":1,')
            telling.stdout.close()
            assert (telling.stderr.read(), telling.wait(100)) == (b"", ExitCode.OK)
        nobody, pipe = os.pipe()
        os.close(nobody)
        command = [sys.executable, "-m", "mesh_cli", "status"]
        env = {**os.environ, "PYTHONUNBUFFERED": ""}
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, env=env, timeout=60, check=False)
        os.close(pipe)
        assert (done.stderr, done.returncode) == (b"", ExitCode.OK)
