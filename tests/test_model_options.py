"""Parameters of a model: those of an agent's options are in each request, and what a server refuses is left out."""

import json
from pathlib import Path

import pytest

from agents.llm import client
from agents.llm.budget import Budget
from agents.llm.client import Model, ModelAnswer
from agents.llm.json_answer import SCHEMA
from mesh.errors import BadInput
from mesh.events import NotePosted, ProposalPosted
from mesh.testing import Arena
from tests.support.model_server import ModelServer, fail, model_server, say
from tests.test_researcher import arena, edit, key, researcher, timeless

__all__ = ["arena", "key"]

NO_MAX_TOKENS = fail(
    400,
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
)
ALL = (("reasoning_effort", "low"), ("temperature", 0.5), ("top_p", 0.9))


async def ask(server: ModelServer, name: str = "openai/test", **how: object) -> ModelAnswer:
    model = Model(name, server.url, how.pop("parameters", ()))  # type: ignore[arg-type]
    question = [{"role": "user", "content": "How are you?"}]
    return await client.ask_model(model, question, max_tokens=50, first_wait_s=0.001, **how)  # type: ignore[arg-type]


def sent(server: ModelServer) -> list[dict[str, object]]:
    """The parameters of each request."""
    return [{name: body[name] for name in sorted(body) if name not in ("model", "messages")} for body in server.asked]


async def test_a_server_that_refuses_max_tokens_is_asked_again_once_and_that_is_remembered() -> None:
    with model_server(NO_MAX_TOKENS, say("Fine."), say("Fine.")) as server:
        answers = [await ask(server) for _ in range(2)]
        assert sent(server) == [{"max_tokens": 50}, {"max_completion_tokens": 50}, {"max_completion_tokens": 50}]
    notice = "openai/test refuses max_tokens, which gets max_completion_tokens"
    assert [(answer.text, answer.notice) for answer in answers] == [("Fine.", notice), ("Fine.", "")]


@pytest.mark.parametrize(
    ("status", "words", "name"),
    [
        (400, "Unrecognized request argument supplied: reasoning_effort", "reasoning_effort"),
        (400, "Unsupported value: 'temperature' does not support 0.5 with this model. Only 1 is.", "temperature"),
        (400, "`temperature` and `top_p` cannot both be specified for this model.", "temperature"),
        (422, "body.top_p: Extra inputs are not permitted", "top_p"),
    ],
)
async def test_a_parameter_that_a_server_refuses_is_left_out_and_said(status: int, words: str, name: str) -> None:
    with model_server(fail(status, words), say("Fine.")) as server:
        answer = await ask(server, parameters=ALL)
        first, second = sent(server)
    assert first == {"max_tokens": 50, "reasoning_effort": "low", "temperature": 0.5, "top_p": 0.9}
    assert second == {key: value for key, value in first.items() if key != name}
    assert (answer.text, answer.notice) == ("Fine.", f"openai/test refuses {name}, which is left out from now on")


@pytest.mark.parametrize(
    "words", ["max_tokens is too large: 50", "Unsupported file type", "temperature must be a number"]
)
async def test_any_other_refusal_is_one_request_and_one_sentence(words: str) -> None:
    with model_server(fail(400, words)) as server:
        with pytest.raises(BadInput, match="refuses the question"):
            await ask(server, parameters=ALL)
        assert len(server.asked) == 1


async def test_what_the_client_would_drop_in_silence_is_said() -> None:
    with model_server(say("Fine."), say("Fine.")) as server:
        answers = [await ask(server, "openai/gpt-5", parameters=ALL[2:]) for _ in range(2)]
        assert all("top_p" not in body for body in server.asked)
    notice = "openai/gpt-5 takes no top_p, which is left out from now on"
    assert [answer.notice for answer in answers] == [notice, ""]


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("reasoning_effort=hihg", "option reasoning_effort=hihg is not valid; use none, minimal, low, medium, high"),
        ("temperature=warm", "option temperature=warm is not valid; use a number from 0 to 2"),
        ("top_p=1.5", "option top_p=1.5 is not valid; use a number from 0 to 1"),
        ("structured=yes", "option structured=yes is not valid; use auto or off"),
    ],
)
def test_an_option_that_is_not_valid_is_one_sentence_before_anything_is_asked(option: str, sentence: str) -> None:
    name, _, value = option.partition("=")
    with pytest.raises(BadInput) as refused:
        Budget("ann", {"model": "openai/test", name: value}, answer_tokens=10)
    assert str(refused.value).startswith(sentence)
    kept = Budget("ann", {"model": "openai/test", "temperature": "0", "top_p": "1"}, answer_tokens=10)
    assert kept.model.parameters == (("temperature", 0.0), ("top_p", 1.0))


OBJECT = {
    "title": "a better rate",
    "rationale": "it jumps",
    "predicted_gain": 0.5,
    "confidence": 0.7,
    "files": [],
    "edits": [{"name": "train.py", "search": "LR = 1e-3", "replace": "LR = 0.5"}],
}


async def test_a_provider_that_enforces_a_schema_gets_one_and_its_object_is_a_proposal(
    arena: Arena, tmp_path: Path
) -> None:
    with model_server(say(json.dumps(OBJECT))) as server:
        made = timeless(await arena.when(researcher(arena, server, model="openai/gpt-4o"), arena.opening))
        [body] = server.asked
    [proposal] = made
    assert isinstance(proposal, ProposalPosted)
    assert (proposal.title.partition(": ")[2], proposal.predicted_gain) == ("a better rate", 0.5)
    assert proposal.values["train.py"]["LR"] == 0.5
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert "Answer with one JSON object" in body["messages"][0]["content"]


async def test_where_a_server_refuses_the_schema_no_question_is_lost(arena: Arena) -> None:
    refuses = fail(400, "'response_format' of type 'json_schema' is not supported with this model.")
    with model_server(refuses, say(json.dumps(OBJECT)), edit("LR = 0.6")) as server:
        ann = researcher(arena, server, model="openai/gpt-4o")
        notice, first = timeless(await arena.when(ann, arena.opening))
        [second] = timeless(await arena.when(ann, arena.opening))
        assert ["response_format" in body for body in server.asked] == [True, False, False]
        rules = [body["messages"][0]["content"] for body in server.asked]
    assert isinstance(first, ProposalPosted)
    assert isinstance(second, ProposalPosted)
    words = "openai/gpt-4o refuses response_format, which is left out from now on"
    assert notice == NotePosted(channel="ops", text=words)
    assert ["FILE: name of the file" in each for each in rules] == [False, False, True]


async def test_structured_answers_can_be_switched_off(arena: Arena) -> None:
    with model_server(edit("LR = 0.6")) as server:
        await arena.when(researcher(arena, server, model="openai/gpt-4o", structured="off"), arena.opening)
        assert sent(server) == [{"max_tokens": 8000}]
