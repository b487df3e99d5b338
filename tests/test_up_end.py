"""When `mesh up` ends: at a goal or after a time; and the live page that outlives it."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.streams.text import TextReceiveStream

from mesh.errors import BadInput
from mesh_cli.live.up import minutes_of
from mesh_cli.page_port import page_port
from tests.support.arenas import write_arena
from tests.test_cli import Lab, Mesh, lab, mesh
from tests.test_up import MESH, PATIENCE_S, belonging_to

__all__ = ["lab", "mesh"]


@pytest.mark.timeout(900)
async def test_it_ends_at_the_goal_and_the_live_page_goes_on_until_ctrl_c(tmp_path: Path, home: Path) -> None:
    arena = write_arena(tmp_path / "arena")
    command = [*MESH, "up", "--goal", "0.2", "--quiet", "--web", "--slots", "2", "--hours", "1"]
    up = await anyio.open_process(command, stdin=subprocess.DEVNULL, cwd=arena)
    try:
        assert up.stdout
        assert up.stderr
        said, out = "", ""
        with anyio.fail_after(2 * PATIENCE_S):
            async for text in TextReceiveStream(up.stderr):
                said += text
                if "goes on until Ctrl-C" in said:
                    break
            async for text in TextReceiveStream(up.stdout):
                out += text
                if "to continue" in out:
                    break
        # then it had ended by itself, and showed no entry
        assert "goal loss 0.2 reached\n" in out
        assert "finished" not in out.partition("arena tiny:")[0]
        # then the page answers, with the champion that reached the goal, though the swarm's server is gone
        [url] = set(re.findall(r"http://127\.0\.0\.1:\d+/", said))
        assert not any("gpu_worker" in " ".join(process.cmdline()) for process in belonging_to(home))
        async with httpx.AsyncClient() as client:
            with anyio.fail_after(PATIENCE_S):
                while True:
                    question = {"sql": "SELECT count(*) AS n FROM runs"}
                    answer = await client.post(f"{url}api/sql", json=question, headers={"Origin": url.rstrip("/")})
                    if answer.status_code == 200:
                        break
                    await anyio.sleep(0.3)
        assert answer.json()["rows"][0][0] >= 3
        up.send_signal(signal.SIGINT)
        with anyio.fail_after(PATIENCE_S):
            assert await up.wait() == 0
    finally:
        with anyio.CancelScope(shield=True):
            if up.returncode is None:
                up.terminate()
            await up.aclose()
    assert belonging_to(home) == []


def test_the_page_of_a_home_keeps_its_port_while_nobody_else_has_it(tmp_path: Path) -> None:
    port = page_port(tmp_path, "127.0.0.1")
    assert page_port(tmp_path, "127.0.0.1") == port
    with socket.create_server(("127.0.0.1", port)):
        other = page_port(tmp_path, "127.0.0.1")
    assert other != port
    assert page_port(tmp_path, "127.0.0.1") == other
    (tmp_path / "page-port").write_text("99999 or so")
    assert 0 < page_port(tmp_path, "127.0.0.1") < 65536


def test_the_time_is_in_minutes_or_hours() -> None:
    assert minutes_of(None, None) is None
    assert (minutes_of(3.0, None), minutes_of(None, 1.5)) == (3.0, 90.0)
    with pytest.raises(BadInput, match="give one of them"):
        minutes_of(1.0, 1.0)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(BadInput, match="use a number above 0"):
            minutes_of(None, wrong)


def test_a_goal_that_is_no_number_is_refused(mesh: Mesh) -> None:
    done = mesh("up", "digits", "--goal", "high")
    assert (done.code, done.out) == (2, "")
    assert "high" in done.err


def test_a_live_page_ends_with_the_process_that_started_it(lab: Lab) -> None:
    command = [*MESH, "web", "--arena", "tiny"]
    page = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "MESH_PARENT": "stdin"}
    )
    assert page.stdout
    assert page.stdin
    with page, page.stdout:
        assert page.stdout.readline().startswith(b"http://127.0.0.1:")
        page.stdin.close()  # as the death of the process at the other end does
        try:
            assert page.wait(PATIENCE_S) == 0
        finally:
            page.kill()
