"""`mesh up --gateway`: an agent of somebody else takes part in a real swarm, with curl alone."""

import re
import signal
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio.streams.text import TextReceiveStream

from tests.support.arenas import TRAIN, write_arena
from tests.support.hub import curl, register
from tests.test_up import MESH, PATIENCE_S, belonging_to


@pytest.mark.timeout(900)
async def test_a_swarm_measures_what_an_agent_proposes_with_curl(tmp_path: Path, home: Path) -> None:
    arena = write_arena(tmp_path / "arena")
    command = [*MESH, "up", "--quiet", "--gateway", "--slots", "1", "--explorers", "1", "--hours", "1"]
    up = await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=arena)
    try:
        assert up.stderr
        said = ""
        with anyio.fail_after(2 * PATIENCE_S):
            async for text in TextReceiveStream(up.stderr):
                said += text
                if found := re.search(r"for agents HUB=(\S+)", said):
                    break
            assert found, said
            hub = found[1]
            key = await register(hub, "gpu-7.lab")
            wish = {"files": {"train.py": TRAIN.replace("HEIGHT = 1.0", "HEIGHT = 0.51")}, "title": "a lower height"}
            made = await curl(f"{hub}/api/proposals", key=key, data=wish)
            assert made.status == 201, made
            while True:
                path = f"wait/{made.json['proposal']}?until=score&wait=20"
                waited = (await curl(f"{hub}/api/{path}", key=key)).json
                if waited["mean"] is not None:
                    break
        assert waited["author"] == "gpu-7_lab"
        assert waited["mean"] == pytest.approx(0.01 * 0.01 + 0.01)
        page = await curl(f"{hub}/")
        assert page.headers["content-type"].startswith("text/html")
        up.send_signal(signal.SIGINT)
        with anyio.fail_after(PATIENCE_S):
            assert await up.wait() == 0
    finally:
        with anyio.CancelScope(shield=True):
            if up.returncode is None:
                up.terminate()
            await up.aclose()
    assert belonging_to(home) == []
