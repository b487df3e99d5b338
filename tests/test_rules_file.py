"""A file of rules in JSON gets better in a swarm of real processes without a model."""

import signal
from pathlib import Path

from mesh import settings
from mesh.jetstream import connect
from mesh.knobs import find_knobs
from mesh.server import embedded
from mesh_cli.connect import board_of, code_store_of
from tests.test_up import mesh_up

ARENA = """
[arena]
name = "rules"
summary = "which payments a person should look at"
[objective]
metric = "wrong"
direction = "minimize"
noise = "none"
[artifact]
editable = ["rules.json"]
[trial]
command = ["python", "decide.py"]
budget_s = 1.0
deadline_s = 20.0
[score]
how = "command"
command = ["python", "score.py"]
"""
RULES = """{
  // points by rule; whoever reaches the limit is looked at
  "rules": [
    {"field": "amount", "above": 900, "points": 1},
    {"field": "country_risk", "above": 0.9, "points": 0.5}
  ],
  "limit": 1.0,
  "schema_version": 2,
}
"""
ROWS = """
def rows():
    return [{"amount": 37 * n % 1000, "country_risk": 53 * n % 101 / 101} for n in range(400)]
"""
DECIDE = """
import json, os, pathlib, re
from rows import rows
rules = json.loads(re.sub(r"//[^\\n]*|,(?=\\s*})", "", pathlib.Path("rules.json").read_text()))
def looked_at(row):
    return sum(r["points"] for r in rules["rules"] if row[r["field"]] > r["above"]) >= rules["limit"]
(pathlib.Path(os.environ["MESH_OUT"]) / "out.json").write_text(json.dumps([looked_at(row) for row in rows()]))
"""
SCORE = """
import json, os, pathlib
from rows import rows
told = json.loads((pathlib.Path(os.environ["MESH_OUT"]) / "out.json").read_text())
right = [row["amount"] > 400 for row in rows()]
print(json.dumps({"wrong": sum(a != b for a, b in zip(told, right)) / len(right)}))
"""


async def test_a_file_of_rules_gets_better_without_a_model(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    files = {"arena.toml": ARENA, "rules.json": RULES, "rows.py": ROWS, "decide.py": DECIDE, "score.py": SCORE}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    # when a swarm works on it until a better proposal is champion
    async with mesh_up(folder, "--slots", "2") as up:
        await up.says("promotes", 2)  # the baseline is the first
        assert await up.ends(signal.SIGINT) == 0
    # then the champion differs from the file in values alone
    async with embedded(settings.server_dir(home)) as server, connect(server.url) as hub:
        bus = await hub.arena("rules")
        board = await board_of(bus)
        assert board.opened is not None
        champion = await code_store_of(bus).files(board.proposals[board.champion].event.commit)
    assert board.champion != board.opened.base_tree
    assert board.scores(board.champion)[0] < board.scores(board.opened.base_tree)[0]
    text = champion["rules.json"].decode()
    assert text != RULES
    old, new = ({knob.name: knob.value for knob in find_knobs("rules.json", one)} for one in (RULES, text))
    assert set(old) == set(new) == {"rules[0].above", "rules[0].points", "rules[1].above", "rules[1].points", "limit"}
    assert [line for line in text.splitlines() if "//" in line] == [RULES.splitlines()[1]]
