"""`docs/howto/hub.md` word for word: an operator and two machines, each with a home; all processes are real."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from mesh.ports import free_ports
from tests.support.follower import ROOT, blocks_of
from tests.test_deploy import Machine, until

PAGE = "docs/howto/hub.md"
BLOCKS = blocks_of(PAGE)


class Box(Machine):
    """A machine that joins: it has neither uvx nor a GPU, and pastes the invitation that it was given."""

    def __init__(self, folder: Path, port: int, door_port: int) -> None:
        super().__init__(folder)
        self.other_words |= {
            "uvx --from 'mesh-swarm[worker]' ": "",
            "--host hub.example.org": f"--host 127.0.0.1 --port {port} --door-port {door_port}",
            "localhost:4222": f"localhost:{port}",
        }
        self.env |= {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.timeout(900)
def test_an_operator_and_two_machines_do_what_the_page_says(tmp_path: Path) -> None:
    port, door_port = free_ports(2)
    machines = {name: Box(tmp_path / name, port, door_port) for name in ("gpu7", "ann", "hub")}
    hub = machines["hub"]
    (tmp_path / "ann" / "role.py").write_bytes((ROOT / "examples" / "role.py").read_bytes())
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for number, block in enumerate(BLOCKS):
            machine = machines.get(block.title.partition(",")[0])
            if machine is None:
                continue
            if "mesh hub revoke" in block.text:
                until(hub, "SELECT count(*) AS n FROM runs WHERE state = 'scored' AND worker = 'gpu7'")
                until(hub, "SELECT count(*) AS n FROM proposals WHERE author = 'ann'")
            if block.title.endswith("goes on"):
                started[block.text] = machine.start(block, BLOCKS[number + 1].text.strip())
            else:
                machine.run(block.text)
            if found := re.search(r"mesh join (mesh1_[\w-]+)", machine.said):
                machines["gpu7" if "invite worker" in block.text else "ann"].other_words["mesh1_..."] = found[1]
        worker = next(process for text, process in started.items() if "--name gpu7" in text)
        assert worker.wait(200) == 3
        said = (tmp_path / "gpu7" / "0.log").read_text()
        assert "member gpu7 was revoked: the rent ended" in said, said
        before = hub.rows("SELECT count(*) AS n, max(seq) AS last FROM events")[0]
        assert before["n"] == before["last"]  # nothing is missing
        hub.run("mesh hub members")
        assert "the rent ended" in hub.said
        hub.run("mesh close")
        for text, process in started.items():
            if "mesh.agent" in text:
                assert process.wait(200) == 0
    finally:
        for machine in machines.values():
            machine.end()


def test_what_the_page_installs_is_what_the_package_offers() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    named = {extra for found in re.findall(r"mesh-swarm\[([\w,]+)\]", page) for extra in found.split(",")}
    assert named == {"up", "hub", "worker", "search"}
    assert named <= extras.keys()
