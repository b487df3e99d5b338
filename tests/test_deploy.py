"""What stands in `deploy/` is what the real programs accept."""

import re
import subprocess
from pathlib import Path

import anyio

from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.server import find_binary
from tests.support.arenas import write_arena

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "deploy" / "nats-server.conf"


def test_the_server_accepts_its_configuration() -> None:
    done = subprocess.run([find_binary(), "-t", "-c", str(CONFIG)], capture_output=True, text=True, check=False)
    assert (done.returncode, "is valid" in done.stderr + done.stdout) == (0, True)


async def test_a_server_of_that_configuration_can_hold_an_arena(tmp_path: Path, home: Path) -> None:
    text = CONFIG.read_text(encoding="utf-8").replace("port: 4222", "port: -1")
    (tmp_path / "nats-server.conf").write_text(text + f'ports_file_dir: "{tmp_path}"\n', encoding="utf-8")
    command = [find_binary(), "-c", "nats-server.conf", "-l", "server.log"]
    async with await anyio.open_process(command, cwd=tmp_path) as server:
        try:
            ports = tmp_path / f"nats-server_{server.pid}.ports"
            while not ports.exists() or not (found := re.search(r"nats://[\d.:]+", ports.read_text())):
                assert server.returncode is None
                await anyio.sleep(0.01)
            async with connect(found[0]) as hub:
                _, opened = await open_arena(hub, write_arena(tmp_path / "arena"), home=home)
            assert opened.version == 1
            assert (tmp_path / "store").is_dir()
        finally:
            server.terminate()
