"""A score program asks a model through the worker's proxy: it works, and the key is nowhere that a run can read."""

import re
from pathlib import Path

import msgspec
import pytest

from gpu_worker import worker
from gpu_worker.judge import upstream
from mesh.events import Failed, JudgeUse, RunFinished, Scored
from tests.support.model_server import ModelServer, Script, fail, model_server, say
from tests.test_environment_rights import CHEAT
from tests.test_foreign_tasks import run

KEY = "sk-7h3-judges-own-k3y-0123456789"
ARENA = """
[arena]
name = "judged"
[objective]
metric = "n"
direction = "maximize"
[artifact]
editable = ["train.py"]
[judge]
models = ["gpt-4o-mini"]
key = "OPENAI_API_KEY"
upstream = "URL"
usd = 1.0
usd_per_run = 0.1
calls_per_run = 20
prices = { "gpt-4o-mini" = [1.0, 10.0] }
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
ASK = """
import json, os, sys, urllib.error, urllib.request

def ask(text, temperature=0.7, **more):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "temperature": temperature}
    body |= {"max_tokens": 100} | more
    headers = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}", "Content-Type": "application/json"}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
"""
LOOK = CHEAT.replace("JUDGE_API_KEY", "OPENAI_API_KEY").replace('"h3 "', '"7h3-judges"')
LOOK = re.sub(r'search\(rb"[^"]*"', lambda _: 'search(rb"7h3-judges[-]own"', LOOK)


async def judged(
    tmp_path: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch, score: str, *, arena: str = ARENA
) -> RunFinished:
    """Run a task whose score program asks the server."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    folder = tmp_path / "judged"
    folder.mkdir()
    look = LOOK.replace("PORT", server.url.split(":")[2].partition("/")[0])
    write = "\nimport pathlib\npathlib.Path(os.environ['MESH_OUT'], 'found').write_text(json.dumps(found()))\n"
    for name, text in (
        ("arena.toml", arena.replace("URL", server.url)),
        ("train.py", look + write),
        ("predict.py", look + "\nprint(json.dumps(found()), flush=True)\n"),
        ("score.py", ASK + look + score),
    ):
        (folder / name).write_text(text)
    return await run(folder, tmp_path)


async def test_a_judge_asks_a_model_and_the_key_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score = """
answers = [ask("how good is it?", 0) for _ in range(3)] + [ask("and now?")]
ways, answer = map(int, os.environ["MESH_PREDICTOR"].split(","))
with open(answer) as file:
    predictor = json.loads(file.readline())
with open(os.path.join(os.environ["MESH_OUT"], "found")) as file:
    trial = json.load(file)
assert os.environ["OPENAI_API_KEY"].startswith("mesh-")
own = [place for place in found() if place not in ("environment", "memory")]
print(answers, trial, predictor, own, file=sys.stderr)
assert trial == predictor == own == ["no setting"], (trial, predictor, own)
print(json.dumps({"n": float(answers[0]) + float(answers[3])}))
"""
    with model_server(say("7", usage=(1000, 100)), say("0.5", usage=(10, 1))) as server:
        done = await judged(tmp_path, server, monkeypatch, score)
    assert isinstance(done.outcome, Scored), done
    assert done.outcome.value == 7.5
    assert done.judge == JudgeUse(calls=2, cached=2, tokens_in=1010, tokens_out=101, usd=0.00202)
    assert [each["Authorization"] for each in server.headers] == [f"Bearer {KEY}"] * 2
    assert KEY.encode() not in msgspec.json.encode(done)
    for file in tmp_path.rglob("*"):
        assert not (file.is_file() and KEY.encode() in file.read_bytes()), file


@pytest.mark.parametrize("tier", ["C", "E"])
async def test_a_judge_asks_by_its_token_where_there_are_no_networks_of_their_own(
    tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chosen(*_: object, **__: object) -> tuple[str, str]:
        return tier, ""

    monkeypatch.setattr(worker, "choose_tier", chosen)
    score = """
with open("/proc/self/environ", "rb") as file:
    assert b"7h3" not in file.read()
with open(os.path.join(os.environ["MESH_OUT"], "found")) as file:
    print(file.read(), file=sys.stderr)
    file.seek(0)
    assert "environment" not in (trial := json.load(file)), trial
    assert "TIER" == "E" or trial == ["no setting"], trial
token, os.environ["OPENAI_API_KEY"] = os.environ["OPENAI_API_KEY"], "mesh-guessed"
assert ask("how good?").startswith("401 ")
os.environ["OPENAI_API_KEY"] = token
print(json.dumps({"n": float(ask("how good?"))}))
""".replace("TIER", tier)
    arena = ARENA.replace('predict = ["python", "predict.py"]', "")
    with model_server(say("7", usage=(1000, 100))) as server:
        done = await judged(tmp_path, server, monkeypatch, score, arena=arena)
    assert isinstance(done.outcome, Scored), done
    assert (done.outcome.value, done.tier, done.judge and done.judge.calls) == (7.0, tier, 1)


@pytest.mark.parametrize(
    ("replies", "limits", "words"),
    [
        ([say("7")] * 9, "calls_per_run = 2", "this run has made the 2 calls that judge.calls_per_run allows"),
        ([fail(500, "broken")] * 12, "calls_per_run = 2", "the model's server answers with status 500 (4 tries)"),
    ],
)
async def test_a_run_whose_judge_did_not_answer_has_no_score(
    replies: list[Script], limits: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "FIRST_WAIT_S", 0.01)
    arena = ARENA.replace("usd_per_run = 0.1\ncalls_per_run = 20", limits).replace(
        'predict = ["python", "predict.py"]', ""
    )
    score = """
for _ in range(3):
    answer = ask("how good?")
    print(answer, file=sys.stderr)
print(json.dumps({"n": 0.0}))  # as many judges go on
"""
    with model_server(*replies) as server:
        done = await judged(tmp_path, server, monkeypatch, score, arena=arena)
    assert isinstance(done.outcome, Failed), done
    assert done.outcome.reason == "no_score"
    assert words in done.outcome.message
    assert KEY.encode() not in msgspec.json.encode(done)


async def test_an_evaluator_that_runs_the_program_itself_asks_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arena = ARENA.replace('command = ["python", "train.py"]\n', "").replace('predict = ["python", "predict.py"]', "")
    arena = (
        arena.replace('metric = "n"', 'metric = "combined_score"')
        .replace('how = "command"', 'how = "openevolve"')
        .replace('preload = ["json"]\n', "")
    )
    evaluate = """
def evaluate(path):
    assert {"no setting"} == {*found()} - {"environment", "memory"}, found()  # the name of the key has a token
    return {"combined_score": float(ask("how good?", 0))}
"""
    with model_server(say("7", usage=(100, 10))) as server:
        done = await judged(tmp_path, server, monkeypatch, evaluate, arena=arena)
    assert isinstance(done.outcome, Scored), done
    assert (done.outcome.value, done.judge and done.judge.tokens_out) == (7.0, 10)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "judge: the evaluator asks gpt-4o-mini through a proxy of the worker, at most $1 in all on each machine" in said
    )
    assert "the program that it runs can ask them too, within these limits, and never sees the key" in said
