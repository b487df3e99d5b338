"""`deploy/README.md` word for word: three homes stand for three machines, all processes and kills are real."""

import json
import re
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from mesh.server import find_binary
from tests.support.follower import ROOT, Block, Follower, blocks_of

CONFIG = ROOT / "deploy" / "nats-server.conf"
BLOCKS = blocks_of("deploy/README.md")


class Machine(Follower):
    """A machine; `scp hub:token` copies from the home of the hub, and packages are there already."""

    def __init__(self, folder: Path) -> None:
        self.other_words = {"scp hub:": f"cp {folder.parent}/hub/", "pip install": ": installed"}
        super().__init__(folder, other_words=self.other_words)
        self.going_on: list[subprocess.Popen[bytes]] = []

    def start(self, block: Block, shows: str) -> "subprocess.Popen[bytes]":
        """Start a process that goes on, and wait until it shows that it does."""
        log = self.folder / f"{len(self.going_on)}.log"
        command = ["bash", "-euc", "exec env " + self.words(block.text)]
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=self.here, env=self.env, stdout=out, stderr=out)
        self.going_on.append(process)
        while shows not in log.read_text("utf-8", "replace"):
            assert process.poll() is None, f"{block.text}\n{log.read_text('utf-8', 'replace')}"
        return process

    def rows(self, sql: str) -> list[dict[str, object]]:
        self.run(f'mesh sql --json "{sql}"')
        answer: list[dict[str, object]] = json.loads(self.said.splitlines()[0])["rows"]
        return answer

    def end(self) -> None:
        for process in self.going_on:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.going_on:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def serve(found: dict[str, Machine]) -> "subprocess.Popen[bytes]":
    """Start the server of the hub, which chooses its port itself; it keeps it, and all machines know it."""
    hub = found["hub"]
    [block] = [b for b in BLOCKS if "nats-server -c" in b.text]
    process = hub.start(block, "Server is ready")
    ports = hub.folder / f"nats-server_{process.pid}.ports"
    while not (ports.exists() and ports.read_text().endswith("}")):
        assert process.poll() is None
    port = json.loads(ports.read_text())["nats"][0].rpartition(":")[2]
    config = hub.folder / "nats-server.conf"
    config.write_text(config.read_text(encoding="utf-8").replace("port: -1", f"port: {port}"), encoding="utf-8")
    for machine in found.values():
        machine.other_words |= {"hub:4222": f"127.0.0.1:{port}", "127.0.0.1:4222": f"127.0.0.1:{port}"}
    return process


@contextmanager
def machines(folder: Path) -> Iterator[dict[str, Machine]]:
    with ExitStack() as stack:
        found = {}
        for name in ("third", "second", "hub"):
            found[name] = Machine(folder / name)
        for name in found:
            stack.callback(found[name].end)
        text = CONFIG.read_text(encoding="utf-8").replace("port: 4222", 'port: -1\nports_file_dir: "."')
        (folder / "hub" / "nats-server.conf").write_text(text, encoding="utf-8")
        (folder / "second" / "role.py").write_bytes((ROOT / "examples" / "role.py").read_bytes())
        yield found


@pytest.mark.timeout(900)
def test_three_machines_come_up_as_the_page_says_and_outlive_a_killed_server_and_a_killed_worker(
    tmp_path: Path,
) -> None:
    started: dict[str, subprocess.Popen[bytes]] = {}
    with machines(tmp_path) as found:
        for number, block in enumerate(BLOCKS):
            machine = found.get(block.title.partition(",")[0])
            if machine is None or "mesh close" in block.text:
                continue
            if not block.title.endswith("goes on"):
                machine.run(block.text)
                continue
            shows = BLOCKS[number + 1].text.strip()
            started[block.text] = serve(found) if "nats-server -c" in block.text else machine.start(block, shows)
        hub = found["hub"]
        server, worker = (
            next(p for text, p in started.items() if word in text) for word in ("nats-server", "--name second")
        )
        until(hub, "SELECT count(*) AS n FROM runs WHERE state = 'scored' AND worker = 'third'")
        server.kill()
        server.wait()
        [again] = [b for b in BLOCKS if "nats-server -c" in b.text]
        hub.start(again, "Server is ready")
        worker.kill()
        worker.wait()
        [[seq]] = [list(row.values()) for row in hub.rows("SELECT max(seq) AS seq FROM events")]
        more = f"SELECT count(*) AS n FROM runs WHERE state = 'scored' AND worker = 'third' AND finished_seq > {seq}"
        until(hub, more)
        until(hub, "SELECT count(*) AS n FROM proposals WHERE author = 'ann'")
        assert hub.rows("SELECT run FROM runs GROUP BY run HAVING count(*) > 1") == []
        hub.run(next(block.text for block in BLOCKS if "mesh close" in block.text))
        for process in [p for text, p in started.items() if "mesh.agent" in text or "--name third" in text]:
            assert process.wait(200) == 0


def until(machine: Machine, count: str) -> None:
    """Wait until a count is not 0."""
    while not machine.rows(count)[0]["n"]:
        pass


def test_the_server_wants_a_token_and_nobody_comes_in_without_it(tmp_path: Path) -> None:
    command = [find_binary(), "-t", "-c", str(CONFIG)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert (refused.returncode, "MESH_TOKEN" in refused.stderr) == (1, True)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"MESH_TOKEN": "mesh_x"})
    assert (done.returncode, "is valid" in done.stderr + done.stdout) == (0, True)
    with machines(tmp_path) as found:
        hub = found["hub"]
        hub.run("echo mesh_secret > token")
        serve(found)
        address = hub.words("nats://127.0.0.1:4222")
        hub.run(f"mesh open digits --nats {address} 2>&1 && exit 9 || echo refused with $?")
        assert "mesh_secret" not in hub.said
        assert re.search(r"refused with [1-8]", hub.said), hub.said
        hub.run(f"mesh open digits --nats {address.replace('//', '//mesh_secret@')}")


def test_what_the_page_installs_is_what_the_package_offers() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    page = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
    named = {extra for found in re.findall(r'pip install "mesh-swarm\[([\w,]+)\]"', page) for extra in found.split(",")}
    assert named == {"up", "worker", "search", "models"}
    assert named <= extras.keys()
