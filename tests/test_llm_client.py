"""One question to a model, through the real litellm, over HTTP to a server that does as the test says."""

import subprocess
import sys

import pytest

from agents.llm import client
from agents.llm.client import Model, ModelAnswer, Price
from agents.llm.hidden_keys import clean
from mesh.errors import BadInput
from tests.support.model_server import SILENCE, ModelServer, Reply, fail, model_server, say

KEY = "sk-a-very-secret-key-1234"
QUESTION = [{"role": "user", "content": "How are you?"}]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


async def ask(server: ModelServer, name: str = "openai/test-model", timeout_s: float = 20) -> ModelAnswer:
    return await client.ask_model(
        Model(name, server.url), QUESTION, max_tokens=50, timeout_s=timeout_s, first_wait_s=0.001
    )


def plain(answer: ModelAnswer) -> tuple[str, str, bool, float | None, int | None, int | None]:
    """All of an answer but for the seconds it took."""
    assert answer.cost.seconds is not None
    cost = answer.cost
    return answer.text, answer.trouble, answer.cut, cost.usd, cost.tokens_in, cost.tokens_out


async def test_an_answer_comes_with_its_tokens_and_without_a_price_where_none_is_known() -> None:
    with model_server(say("Fine.", usage=(12, 3))) as server:
        assert plain(await ask(server)) == ("Fine.", "", False, None, 12, 3)
        [asked] = server.asked
        assert (asked["model"], asked["messages"], asked["max_tokens"]) == ("test-model", QUESTION, 50)


async def test_a_known_price_is_paid_by_the_token() -> None:
    price = client.price_of(Model("openai/gpt-4o"))
    assert price is not None
    assert price.token_out > price.token_in > 0
    with model_server(say("Fine.", usage=(1000, 100))) as server:
        answer = await ask(server, "openai/gpt-4o")
    assert answer.cost.usd == pytest.approx(1000 * price.token_in + 100 * price.token_out)
    assert price.of(1000, 100) == answer.cost.usd


def test_a_model_without_a_price_has_none_and_not_zero() -> None:
    assert client.price_of(Model("openai/test-model")) is None
    assert Price(0.5, 2.0).of(2, 3) == 7.0


async def test_a_server_that_counts_no_tokens_is_counted_from_above() -> None:
    with model_server(say("Fine.", usage=None)) as server:
        answer = await ask(server)
    assert answer.cost.tokens_in is not None
    assert answer.cost.tokens_in >= 4
    assert answer.cost.tokens_out is not None
    assert answer.cost.tokens_out >= 1


async def test_a_limit_of_the_rate_and_a_failing_server_are_waited_for() -> None:
    with model_server(fail(429, retry_after="0"), fail(429), fail(500), fail(503), say("Fine.")) as server:
        assert (await ask(server)).text == "Fine."
        assert len(server.asked) == 5


async def test_a_server_that_goes_on_failing_is_given_up_in_one_sentence() -> None:
    with model_server(*[fail(500, "on fire")] * 9) as server:
        answer = await ask(server)
        assert len(server.asked) == client.ATTEMPTS
    assert plain(answer) == ("", answer.trouble, False, None, None, None)
    assert answer.trouble == "openai/test-model gave no answer in 5 requests: OpenAIException - on fire".replace(
        "OpenAIException - ", ""
    )


async def test_where_nobody_listens_the_answer_says_so() -> None:
    with model_server() as server:
        pass
    answer = await ask(server)
    assert answer.trouble.startswith("openai/test-model gave no answer in 5 requests: ")


async def test_an_answer_that_does_not_come_in_time_is_given_up_and_counted() -> None:
    with model_server(SILENCE) as server:
        answer = await ask(server, timeout_s=3)
        assert len(server.asked) == 1
    words = "openai/test-model did not answer within 3 s"
    assert plain(answer) == ("", words, False, None, client.size_of(QUESTION), 0)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (fail(401, f"Incorrect API key provided: {KEY}."), "openai/test-model refuses the key; set a valid key"),
        (
            fail(403, "not for you"),
            "openai/test-model refuses the key, which has no access to this model; use another key",
        ),
        (fail(404, "no such model"), "openai/test-model is unknown to its provider; check --model and --api-base"),
        (fail(400, "bad field"), "openai/test-model refuses the question (bad field)"),
        (fail(402, "no money"), "openai/test-model cannot be asked (no money)"),
    ],
)
async def test_what_asking_again_would_not_help_is_one_sentence_without_the_key(reply: Reply, sentence: str) -> None:
    with model_server(reply) as server:
        with pytest.raises(BadInput) as refused:
            await ask(server)
        assert len(server.asked) == 1
    assert str(refused.value).startswith(sentence)
    assert "\n" not in str(refused.value)
    assert KEY not in f"{refused.value!r} {refused.value.__cause__!r}"


async def test_a_refusal_an_empty_answer_and_a_cut_one_are_told_apart() -> None:
    refusal = Reply(text="", refusal="I will not.")
    with model_server(refusal, say("", finish="length"), say("Fi", finish="length")) as server:
        first, second, third = [await ask(server) for _ in range(3)]
    assert (first.text, first.trouble) == ("", "openai/test-model refuses: I will not.")
    assert second.trouble == "openai/test-model gave an empty answer; it used all its tokens for reasoning"
    assert (third.text, third.trouble, third.cut) == ("Fi", "", True)


def test_a_model_without_a_provider_is_refused() -> None:
    client.check_model(Model("openai/anything"))
    with pytest.raises(BadInput, match="model 'nonsense' has no known provider; write provider/name"):
        client.check_model(Model("nonsense"))


def test_secrets_are_taken_out_of_what_others_say() -> None:
    said = f"key {KEY} and sk-other-123456 at http://me:pw@host/\n{'x' * 400}"
    shown = clean(said)
    assert shown.startswith("key [secret] and [secret] at http://[secret]@host/ xxx")
    assert len(shown) == 301


async def test_an_answer_that_a_server_puts_into_its_reasoning_is_told_apart_from_one_that_is_missing() -> None:
    replies = (
        Reply(reasoning="TITLE: x"),
        Reply(text="Fine.", reasoning="Hm."),
        Reply(reasoning="Hm", finish="length"),
        say("<think>Hm.</think>Fine."),
    )
    with model_server(*replies) as server:
        answers = [await ask(server) for _ in replies]
    assert [(a.text, a.thought) for a in answers] == [
        ("TITLE: x", True),
        ("Fine.", False),
        ("", False),
        (answers[3].text, False),
    ]
    assert answers[2].trouble == "openai/test-model gave an empty answer; it used all its tokens for reasoning"
    assert answers[3].text.endswith("Fine.")


FIRST_CALL = """
import sys
import anyio
from agents.llm import client

async def main():
    client._import_what_calls_need()
    known = {*sys.modules}
    question = [{"role": "user", "content": "?"}]
    answer = await client.ask_model(client.Model("openai/x", sys.argv[1]), question, max_tokens=5)
    print(answer.text, sum(name.startswith("openai.") for name in {*sys.modules} - known))

anyio.run(main)
"""


@pytest.mark.timeout(600)
def test_what_the_first_call_imports_does_not_count_against_its_time_limit() -> None:
    with model_server(say("ready")) as server:
        command = [sys.executable, "-c", FIRST_CALL, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert (done.stdout, done.returncode) == ("ready 0\n", 0), done.stderr
