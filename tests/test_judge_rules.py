"""`[judge]` of a real arena.toml: what is refused, where prices come from, and where people see what was spent."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.llm.judge_price import judge_price
from mesh.arena import load_arena
from mesh.errors import BadArena
from mesh.events import JudgeUse
from mesh.judge_rules import judge_words, priced
from mesh.leaderboard import Ranking
from mesh.records import JudgeTotal
from mesh.spec import JudgeSpec
from mesh.testing import given
from mesh_cli.live.headline import progress_line
from mesh_cli.live.status import standing_of
from tests.support.folding import folded, rows
from tests.support.history import T1, Fact, finish, opened, proposal, request
from tests.test_judge import ARENA


def loaded(tmp_path: Path, text: str) -> Any:
    for name, body in (("arena.toml", text), ("train.py", ""), ("score.py", ""), ("predict.py", "")):
        (tmp_path / name).write_text(body)
    return load_arena(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('models = ["gpt-4o-mini"]\n', "", "judge.models is empty: name the models"),
        ("usd = 1.0\n", "", "judge.usd is 0, but OPENAI_API_KEY pays for calls"),
        ("OPENAI_API_KEY", "MY KEY", "judge.key is 'MY KEY'; use the name of a variable"),
        ('"URL"', '"ftp://x"', 'judge.upstream is "ftp://x"; use an address such as'),
        ('"URL"', '"https://me:secret@x.org"', "use an address such as"),
        ('key = "OPENAI_API_KEY"\nupstream = "URL"', 'key = "MY_KEY"', "judge.upstream is empty"),
        ("[trial]", '[environment]\nkeys = ["OPENAI_API_KEY"]\n[trial]', "is in environment.keys too"),
        ('{ "gpt-4o-mini"', '{ "gpt-5"', "judge.prices has 'gpt-5', which is not in judge.models"),
        ("calls_per_run = 20", "calls = 20", "unknown key 'calls' in [judge]"),
        ("calls_per_run = 20", 'cache = "some"', "judge.cache"),
        ("calls_per_run = 20", "usd_per_call = 1", "unknown key 'usd_per_call' in [judge]"),
    ],
)
def test_a_judge_that_makes_no_sense_is_refused_in_a_sentence(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = ARENA.replace(old, new, 1).replace("URL", "http://127.0.0.1:1/v1")
    with pytest.raises(BadArena) as error:
        loaded(tmp_path, text)
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def test_the_address_of_a_known_provider_need_not_be_written(tmp_path: Path) -> None:
    text = ARENA.replace('upstream = "URL"\n', "").replace("OPENAI_API_KEY", "OPENROUTER_API_KEY")
    spec = loaded(tmp_path, text)
    assert spec.judge.upstream == "https://openrouter.ai/api/v1"
    assert "the score program alone asks gpt-4o-mini through a proxy of the worker, at most $1" in judge_words(spec)
    assert judge_words(spec).endswith("OPENROUTER_API_KEY stays outside of the sandbox")


def test_prices_come_from_the_arena_then_from_litellm_and_an_unknown_one_is_refused() -> None:
    judge = JudgeSpec(models=("gpt-4o-mini", "mine"), key="OPENAI_API_KEY", usd=1.0, prices={"mine": (2.0, 3.0)})
    assert priced(Path("a"), judge, judge_price).prices == {"gpt-4o-mini": (0.15, 0.6), "mine": (2.0, 3.0)}
    assert judge_price("openai/gpt-4o-mini", "OPENROUTER_API_KEY") == (0.15, 0.6)
    with pytest.raises(BadArena) as error:
        priced(Path("a"), JudgeSpec(models=("no-such-model",), usd=1.0), judge_price)
    assert "judge: the price of no-such-model is unknown, so usd = 1 cannot be kept: give prices = {" in str(
        error.value
    )
    assert priced(Path("a"), JudgeSpec(models=("no-such-model",)), judge_price).prices == {}  # no limit of dollars


async def test_what_a_judge_has_spent_stands_in_views_headline_and_status(tmp_path: Path) -> None:
    use = JudgeUse(calls=3, cached=2, tokens_in=1000, tokens_out=50, usd=0.25)
    spent = replace(finish("r1", T1, 1.5), judge=use)
    history: list[Fact] = [
        ("op", opened()),
        ("ann", proposal(T1)),
        ("cur", request("r1", T1)),
        ("cur", request("r2", T1, 2)),
        ("w", spent),
        ("w", finish("r2", T1, 1.0)),
    ]
    board = given(*history)
    assert (board.judge, board.usd) == (JudgeTotal(3, 2, 1000, 50, 0.25), 0.25)
    line = progress_line(board, Ranking(board), 10.0, None)
    assert line.endswith("judge 1,050 tokens ($0.2500) in 3 calls, 2 answers from the cache")
    status = standing_of(board, ())
    assert (status["judge_calls"], status["judge_tokens"], status["judge_usd"]) == (3, 1050, 0.25)
    async with folded(tmp_path / "a.duckdb", history) as queries:
        assert await rows(queries, "SELECT run, calls, cached, tokens_in, tokens_out, usd FROM judging") == [
            ["r1", 3, 2, 1000, 50, 0.25]
        ]
        assert await rows(queries, "SELECT count, usd, tokens_in, tokens_out FROM cost WHERE what = 'judge'") == [
            [1, 0.25, 1000, 50]
        ]
