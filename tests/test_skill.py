"""The skill has the form that agents expect, and its commands do what it says when they are followed literally."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest
import yaml

from mesh import settings
from mesh.errors import BadInput
from mesh.server import embedded
from mesh_cli.skills import install, skill_text
from tests.support.arenas import ARENA, TRAIN, write_arena
from tests.support.swarm import swarm_of

BLOCKS = re.findall(r"^```sh\n(.*?)^```", skill_text(), re.MULTILINE | re.DOTALL)


def test_the_skill_has_the_form_that_agents_expect() -> None:
    _, head, body = skill_text().split("---\n", 2)
    fields = yaml.safe_load(head)
    assert set(fields) == {"name", "description"}
    assert fields["name"] == "mesh" == (Path(__file__).parents[1] / "skills" / "mesh").name
    assert re.search(r"\bUse it when\b", fields["description"])
    assert len(fields["description"]) <= 1024
    assert len(body.splitlines()) < 500


def test_the_skill_is_installed_over_an_older_one_and_over_nothing_else(tmp_path: Path) -> None:
    path = install(tmp_path / ".claude" / "skills")
    assert path == tmp_path / ".claude" / "skills" / "mesh" / "SKILL.md"
    path.write_text("---\nname: mesh\n---\nan older one")
    install(tmp_path / ".claude" / "skills")
    assert path.read_text() == skill_text()
    path.write_text("---\nname: mesh-of-others\n---\n")
    with pytest.raises(BadInput, match="is another skill"):
        install(tmp_path / ".claude" / "skills")


async def test_an_agent_that_follows_the_skill_literally_makes_a_champion(tmp_path: Path) -> None:
    exact = ARENA.replace('direction = "minimize"', 'direction = "minimize"\nnoise = "none"')
    project = write_arena(tmp_path / "project", arena=exact)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environ['PATH']}"
    read, check_out, propose, wait, go_on = BLOCKS
    edit = f"cat > train.py <<'EOF'\n{TRAIN.replace('HEIGHT = 1.0', 'HEIGHT = 0.5')}EOF\n"
    again = f"until {wait.strip()} > ../wait.json; do [ $? = 13 ] || exit 1; done\n"
    script = "".join(
        [
            "set -e\n",
            read.replace("--json", "--json > read.json"),
            check_out.replace("champion", "baseline"),  # as it says: there is no champion yet
            edit,
            propose.replace("NAME", "claude").replace("MODEL", "opus").replace("--json", "--json > ../propose.json"),
            again,
            f'NEXT={"$(python -c "}\'import json; print(json.load(open("../read.json"))["next"])\')\n',
            go_on.replace("NEXT", "$NEXT").replace("NAME", "claude").replace("--json", "--json > ../news.json"),
        ]
    )
    async with embedded(settings.server_dir(project / ".mesh"), sync="1s") as server:

        def run(command: list[str]) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, cwd=project, env=environ, capture_output=True, text=True, timeout=200, check=False
            )

        opened = await anyio.to_thread.run_sync(run, ["mesh", "open", "."])
        assert opened.returncode == 0, opened
        async with swarm_of(project / ".mesh", server.url) as swarm:
            await swarm.start("curator", "worker")
            done = await anyio.to_thread.run_sync(run, ["bash", "-c", script])
            assert done.returncode == 0, done
    said = {name: json.loads((project / f"{name}.json").read_text()) for name in ("read", "propose", "wait", "news")}
    assert all({"seq", "closed"} <= set(each) for each in said.values())
    assert said["wait"]["ending"] == "promoted"
    assert f"{said['propose']['proposal'][:10]} claude promoted" in said["news"]["text"]
