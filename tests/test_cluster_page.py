"""`docs/howto/cluster.md` word for word: three homes stand for three machines, and the servers are real."""

import shutil
from pathlib import Path

from benchmarks.parts.three_servers import CONFIG
from mesh.ports import free_ports
from tests.support.follower import blocks_of
from tests.test_deploy import Machine

BLOCKS = {block.title: block for block in blocks_of("docs/howto/cluster.md")}


def test_three_servers_come_up_as_the_page_says_and_keep_an_arena(tmp_path: Path) -> None:
    ports = dict(zip([(name, port) for name in "abc" for port in (4222, 6222)], free_ports(6), strict=True))
    words = {f"{name}:{port}": f"127.0.0.1:{at}" for (name, port), at in ports.items()}
    machines = {name: Machine(tmp_path / name) for name in "abc"}
    try:
        for name, machine in machines.items():
            machine.other_words |= words | {"MESH_NODE=a": f"MESH_NODE={name}"}
            text = CONFIG.read_text(encoding="utf-8").replace("0.0.0.0", "127.0.0.1")
            text = text.replace("port: 4222", f"port: {ports[name, 4222]}").replace(":6222", f":{ports[name, 6222]}")
            (machine.folder / "nats-cluster.conf").write_text(text, encoding="utf-8")
            if name == "a":
                machine.run(BLOCKS["a"].text)
            else:
                shutil.copy(machines["a"].folder / "token", machine.folder / "token")
            started = BLOCKS["a, goes on"]
            script = started.text.strip().replace("nats-server -c", "exec nats-server -c")
            machine.start(started._replace(text=f"bash -euc '{script}'"), "Server is ready")
        anybody = machines["c"]
        anybody.run(BLOCKS["any machine"].text)
        [line] = [line for line in anybody.said.splitlines() if "arena digits: " in line]
        assert ", leader " in line
        assert line.split()[:2] in (["ok", "log"], ["warn", "log"])  # a copy may still be on its way
    finally:
        for machine in machines.values():
            machine.end()
