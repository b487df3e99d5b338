"""Keys and network reach the score program alone, variables all processes; no value of a key reaches the log."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gpu_worker.task_environment import redacted
from mesh.arena import load_arena
from mesh.errors import BadArena, HostTrouble
from mesh.events import Failed, RunFinished, Scored
from tests.test_foreign_tasks import run

KEY = 'sk-"7h3 \\ k3y/ö'
ARENA = """
[arena]
name = "judge"
[objective]
metric = "n"
direction = "maximize"
[artifact]
editable = ["train.py"]
[environment]
variables = ["TASK_SETTING"]
keys = ["JUDGE_API_KEY"]
network = "evaluator"
[trial]
command = ["python", "train.py"]
preload = ["json"]
budget_s = 10.0
deadline_s = 30.0
[score]
how = "command"
command = ["python", "score.py"]
predict = ["python", "predict.py"]
"""
CHEAT = """
import gc, json, os, re, socket

def found():
    here = []
    if "JUDGE_API_KEY" in os.environ or any("h3 " in text for text in os.environ.values()):
        here.append("environment")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                here += ["process"] if b"JUDGE_API_KEY" in file.read() else []
        except OSError:
            continue
    for each in gc.get_objects():
        if isinstance(each, dict) and "JUDGE_API_KEY" in each:
            here.append("memory")
    with open("/proc/self/maps") as maps:
        for line in maps:
            if "[heap]" in line or line.rstrip().endswith(" 0"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                try:
                    with open("/proc/self/mem", "rb", 0) as memory:
                        memory.seek(start)
                        here += ["heap"] if re.search(rb"7h3 [\\\\]+ k3[y]", memory.read(end - start)) else []
                except (OSError, ValueError, OverflowError):
                    continue
    try:
        socket.create_connection(("127.0.0.1", PORT), 2)
        here.append("network")
    except OSError:
        pass
    return here + [os.environ.get("TASK_SETTING", "no setting")]
"""


@pytest.fixture
def port() -> Iterator[int]:
    """A server on the network of the machine, which greets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"hello")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


async def ended(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, score: str) -> RunFinished:
    """Run the judge's task with this end of its score program."""
    monkeypatch.setenv("JUDGE_API_KEY", KEY)
    monkeypatch.setenv("TASK_SETTING", "seven")
    monkeypatch.setenv("OTHER_API_KEY", "sk-other-key")
    folder = tmp_path / "judge"
    folder.mkdir()
    look = CHEAT.replace("PORT", str(port))
    write = "\nimport pathlib\npathlib.Path(os.environ['MESH_OUT'], 'found').write_text(json.dumps(found()))\n"
    answer = "\nprint(json.dumps(found()), flush=True)\n"
    head = """
import json, os, socket, sys
key = os.environ["JUDGE_API_KEY"]
assert "OTHER_API_KEY" not in os.environ
with socket.create_connection(("127.0.0.1", PORT), 60) as judge:
    greeting = judge.recv(5).decode()
trial = json.loads(open(os.environ["MESH_OUT"] + "/found").read())
predictor = json.loads(os.fdopen(4).readline())
""".replace("PORT", str(port))
    for name, text in (
        ("arena.toml", ARENA),
        ("train.py", look + write),
        ("predict.py", look + answer),
        ("score.py", head + score),
    ):
        (folder / name).write_text(text)
    return await run(folder, tmp_path)


async def test_a_judge_has_key_and_network_and_no_other_process_finds_them(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score = """
print("asked with", key, file=sys.stderr)
assert greeting == "hello"
assert trial == ["seven"], trial
assert predictor == ["seven"], predictor
print(json.dumps({"n": len(key), key: 1}))
"""
    done = await ended(tmp_path, port, monkeypatch, score)
    assert isinstance(done.outcome, Scored), done
    assert done.outcome.metrics == {"n": len(KEY), "***JUDGE_API_KEY***": 1}
    assert (
        "the score program alone has the network of this machine and the key JUDGE_API_KEY" in capsys.readouterr().err
    )


async def test_a_judge_that_prints_its_key_prints_its_name(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = "raise SystemExit(f'401 for {key} ({key!r}, {json.dumps(key)})')"
    done = await ended(tmp_path, port, monkeypatch, score)
    assert isinstance(done.outcome, Failed), done
    assert "401 for ***JUDGE_API_KEY*** ('***JUDGE_API_KEY***', \"***JUDGE_API_KEY***\")" in done.outcome.message
    assert b"k3y" not in msgspec.json.encode(done)


@pytest.mark.parametrize("cut", [4, 9, 13])
def test_a_key_that_is_cut_off_is_taken_out_too(cut: int) -> None:
    value = "sk-0123456789abc"
    text = f"head {value[:cut]}\n… 12 bytes left out …\n{value[-cut:]} tail {value}"
    assert redacted(text, {"K": value}) == "head ***K***\n… 12 bytes left out …\n***K*** tail ***K***"
    assert redacted("plain", {"K": value}) == "plain"


async def test_a_worker_without_the_key_takes_no_runs(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.test_environment_rights.KEY", "short")
    with pytest.raises(BaseExceptionGroup) as error:
        await ended(tmp_path, port, monkeypatch, "print(json.dumps({'n': 1}))")
    trouble: BaseException = error.value
    while isinstance(trouble, BaseExceptionGroup):
        trouble = trouble.exceptions[0]
    assert isinstance(trouble, HostTrouble)
    assert "environment.keys: JUDGE_API_KEY has fewer than 8 characters" in str(trouble)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('["TASK_SETTING"]', '["HF_TOKEN"]', "environment.variables: HF_TOKEN looks like a key"),
        ('["TASK_SETTING"]', '["AWS_SECRET_ACCESS_KEY"]', "looks like a key, which trials must not see"),
        ('["TASK_SETTING"]', '["MESH_SEED"]', "environment.variables: the worker itself sets MESH_SEED"),
        ('["JUDGE_API_KEY"]', '["HOME"]', "environment.keys: the worker itself sets HOME"),
        ('["TASK_SETTING"]', '["A=B"]', "environment.variables: 'A=B' is not the name of a variable"),
        ('network = "evaluator"', "network = true", 'environment.network is true; use "evaluator"'),
        ('network = "evaluator"', 'network = "all"', "environment.network"),
        (
            'command = ["python", "score.py"]\npredict = ["python", "predict.py"]\n',
            "pattern = '(\\d+)'\n",
            'environment.keys is for a score program, but with score.how = "stdout"',
        ),
    ],
)
def test_rights_that_make_no_sense_are_refused_at_opening(old: str, new: str, words: str, tmp_path: Path) -> None:
    assert ARENA.count(old) == 1
    text = ARENA.replace(old, new)
    text = text.replace('how = "command"', 'how = "stdout"') if "pattern" in new else text
    for name, body in (("arena.toml", text), ("train.py", ""), ("score.py", ""), ("predict.py", "")):
        (tmp_path / name).write_text(body)
    with pytest.raises(BadArena) as error:
        load_arena(tmp_path)
    assert words in str(error.value)


def test_names_that_only_sound_like_keys_are_variables(tmp_path: Path) -> None:
    text = ARENA.replace('"TASK_SETTING"', '"TOKENIZERS_PARALLELISM", "HF_HOME", "JUDGE_API_KEY"')
    for name, body in (("arena.toml", text), ("train.py", ""), ("score.py", ""), ("predict.py", "")):
        (tmp_path / name).write_text(body)
    assert json.loads(msgspec.json.encode(load_arena(tmp_path).environment.keys)) == ["JUDGE_API_KEY"]
