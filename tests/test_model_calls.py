"""Prompts and answers of models are kept beside the log, without keys, the newest of them, and shown by `mesh show`."""

import json
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from agents.critic import Critic
from agents.researcher import Researcher
from mesh import model_calls
from mesh.agent.call_keeper import CallKeeper
from mesh.errors import ObjectMissing
from mesh.events import AnyEvent, Cost, CritiquePosted, KeptCall, ModelAsked, Origin, ProposalPosted
from mesh.jetstream import connect, streams
from mesh.model_calls import MOST_TEXT_BYTES, ModelCall, pack_call, unpack_call
from mesh.testing import FILES, TRAIN, Arena, git_hash, opened
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from tests.conftest import OpenBus
from tests.support.folding import folded, rows
from tests.support.history import Fact
from tests.support.model_server import ModelServer, Reply, fail, model_server, say
from tests.test_cli import Mesh, mesh, refused, serving
from tests.test_researcher import KEY, NAME, edit, name_of

__all__ = ["mesh"]

CALL = ModelCall(
    model="x/y",
    parameters={"max_tokens": 100},
    messages=[{"role": "system", "content": "rules"}, {"role": "user", "content": "task"}],
    answer="LR = 0.5",
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    arena = Arena(tmp_path / "given")
    arena.propose_baseline()
    arena.score(arena.base, 10.0)
    return arena


async def calls_of(arena: Arena, facts: list[AnyEvent]) -> list[ModelCall]:
    """The kept calls of facts, all of which have one."""
    kept = [fact.call for fact in facts if isinstance(fact, ProposalPosted | CritiquePosted | ModelAsked)]
    return [unpack_call(each.sha256, await arena.bus.kept(each.sha256)) for each in kept if each]


def researcher(arena: Arena, server: ModelServer, name: str) -> Researcher:
    context = arena.context(name, {"model": NAME, "api_base": server.url, "temperature": "0.3"})
    return Researcher(replace(context, calls=CallKeeper(arena.bus)))


async def test_every_call_is_kept_with_its_prompt_its_answer_and_what_came_of_it(arena: Arena) -> None:
    name = name_of("improve")
    good = edit("LR = 0.5")
    thinking = replace(good, reasoning="larger, perhaps")
    with model_server(say("Well."), thinking) as server:
        facts = await arena.when(researcher(arena, server, name), arena.opening, name=name)
        asked = [body["messages"] for body in server.asked]
    vain, proposal = await calls_of(arena, facts)
    assert [type(fact) for fact in facts] == [ModelAsked, ProposalPosted]
    assert [vain.messages, proposal.messages] == asked
    assert vain == ModelCall(
        model=NAME, parameters={"max_tokens": 8000, "temperature": 0.3}, messages=asked[0], answer="Well."
    )
    assert (proposal.answer, proposal.thoughts) == (good.text, "larger, perhaps")


SILENT = [
    (Reply(text="", refusal="I will not."), "", f"{NAME} refuses: I will not."),
    (Reply(text="", reasoning="LR up?", finish="length"), "LR up?", "it used all its tokens for reasoning"),
    (fail(400, "messages: too long"), "", "refuses the question (messages: too long)"),
]


@pytest.mark.parametrize(("reply", "thoughts", "trouble"), SILENT, ids=["refused", "only thought", "bad request"])
async def test_calls_without_an_answer_are_kept_too(arena: Arena, reply: Reply, thoughts: str, trouble: str) -> None:
    name = name_of("improve")
    with model_server(reply) as server:
        facts = await arena.when(researcher(arena, server, name), arena.opening, name=name)
    [call] = await calls_of(arena, facts)
    assert (call.answer, call.thoughts, len(call.messages)) == ("", thoughts, 2)
    assert trouble in call.trouble


async def test_what_a_critic_asked_is_kept_with_its_critique_or_its_failed_call(arena: Arena) -> None:
    post = arena.propose_files({**FILES, "train.py": TRAIN.replace(b"LR = 1e-3", b"LR = 0.5")})
    with model_server(say("VERDICT: endorse\nCONFIDENCE: 0.4\nTEXT: fine"), say("Fine.")) as server:
        for verdicts in ([CritiquePosted], [ModelAsked, CritiquePosted]):
            context = arena.context("cid", {"model": NAME, "api_base": server.url})
            critic = Critic(replace(context, calls=CallKeeper(arena.bus)))
            baseline, *facts = await arena.when(critic, post, name="cid")
            assert (isinstance(baseline, CritiquePosted), await calls_of(arena, [baseline])) == (True, [])
            [call] = await calls_of(arena, facts)
            assert [type(fact) for fact in facts] == verdicts
            assert call.messages == server.asked[-1]["messages"]
            assert call.answer in ("VERDICT: endorse\nCONFIDENCE: 0.4\nTEXT: fine", "Fine.")


async def test_no_key_is_ever_kept(arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWN_TOKEN", "plain words of mine")
    other = "sk-proj-" + "a1B2" * 8
    name = name_of("improve")
    with model_server(say(f"The key is {KEY}, or plain words of mine, or {other}."), say("no")) as server:
        facts = await arena.when(researcher(arena, server, name), arena.opening, name=name)
    for call in await calls_of(arena, facts):
        text = json.dumps([call.messages, call.answer, call.thoughts])
        assert "[secret]" in text
        assert not any(secret in text for secret in (KEY, "plain words of mine", other))


def test_long_texts_lose_their_middle_and_odd_ones_are_kept() -> None:
    long = "b" + "ä" * MOST_TEXT_BYTES + "e"
    messages = [{"role": "user", "content": text} for text in (long, long, long, "\ud800")]
    kept, data = pack_call(ModelCall(model="x/y", messages=messages, answer=long, thoughts=long, trouble=long))
    call = unpack_call(kept.sha256, data)
    sizes = [len(text.encode()) for text in (call.answer, call.thoughts, *(m["content"] for m in call.messages))]
    assert all(size <= MOST_TEXT_BYTES for size in sizes[:2])
    assert sum(sizes[2:]) <= 2 * MOST_TEXT_BYTES
    assert "bytes; the middle was not kept" in call.answer
    assert (call.answer[0], call.answer[-1], call.messages[-1]["content"]) == ("b", "e", "?")
    assert (kept.prompt_bytes, kept.answer_bytes) == (3 * len(long.encode()) + 1, 2 * len(long.encode()))


@pytest.mark.parametrize("data", [b"", b"no zlib", pack_call(CALL)[1] + b"x"], ids=["empty", "noise", "changed"])
def test_a_damaged_object_is_said_to_be_damaged(data: bytes) -> None:
    with pytest.raises(ObjectMissing, match="is damaged"):
        unpack_call(pack_call(CALL)[0].sha256, data)


async def test_the_newest_objects_are_kept_and_the_oldest_dropped(
    open_bus: OpenBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (model_calls, streams):
        monkeypatch.setattr(module, "KEPT_BYTES", 100_000)
    monkeypatch.setattr("mesh.memory.KEPT_BYTES", 100_000)
    async with open_bus() as bus:
        with pytest.raises(ObjectMissing):
            await bus.kept("n0")
        for number in range(10):
            await bus.keep(f"n{number}", bytes([number]) * 30_000)
            await bus.keep(f"n{number}", b"another")  # the bytes of a name never change
        assert await bus.kept("n9") == bytes([9]) * 30_000
        found = []
        for number in range(10):
            try:
                found.append(await bus.kept(f"n{number}") == bytes([number]) * 30_000)
            except ObjectMissing:
                found.append(False)
        assert found == [False] * 7 + [True] * 3


def _cost() -> Cost:
    return Cost(usd=0.5, tokens_in=10, tokens_out=5)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[dict[str, KeptCall]]:
    """A real server with an arena in which a model was asked twice; one more call is gone."""
    gone = pack_call(replace(CALL, answer="gone"))[0]
    unused, made = pack_call(replace(CALL, answer="", thoughts="hm\x1b[31m", trouble="no answer")), pack_call(CALL)
    facts: list[Fact] = [
        ("op", opened()),
        ("ann", ModelAsked(model="x/y", purpose="improve", ok=False, cost=_cost(), text="no answer", call=unused[0])),
        (
            "ann",
            ProposalPosted(
                tree=git_hash("t1"), commit=git_hash("c1"), title="t", origin=Origin(how="model"), call=made[0]
            ),
        ),
        ("ann", ModelAsked(model="x/y", purpose="improve", ok=True, cost=_cost(), text="old", call=gone)),
        ("ann", ModelAsked(model="x/y", purpose="improve", ok=True, cost=_cost(), text="unkept")),
    ]
    with serving(tmp_path / "home") as url:

        async def fill() -> None:
            async with connect(url) as there:
                bus = await there.arena("a", create=True)
                await bus.post_all([Post.new(author, event) for author, event in facts])
                for kept, data in (unused, made):
                    await bus.keep(kept.sha256, data)

        anyio.run(fill)
        yield {"unused": unused[0], "made": made[0]}


def test_show_prints_prompts_and_answers_also_those_that_made_no_proposal(lab: dict[str, KeptCall], mesh: Mesh) -> None:
    short = mesh("show", git_hash("t1")).out
    assert "model call: x/y (max_tokens 100)\n  prompt, 9 bytes:\n    | # system" in short
    assert "whole: mesh show 3 --prompt, mesh show 3 --answer" in short
    assert mesh("show", "3", "--prompt").out == "# system\n\nrules\n\n# user\n\ntask\n"
    assert mesh("show", git_hash("t1"), "--answer").out == "LR = 0.5\n"
    whole = json.loads(mesh("show", "3", "--json").out)["call"]
    assert (whole["answer"], whole["messages"], whole["parameters"]) == ("LR = 0.5", CALL.messages, {"max_tokens": 100})
    assert mesh("show", "2", "--answer").out == "# thoughts\n\nhm�[31m\n\n# answer\n\nno answer\n"
    assert "no answer: no answer" in mesh("show", "2").out
    assert "2 20" in mesh("tail", "--no-follow", "--kind", "model.asked").out
    assert "no answer (mesh show 2 --answer)" in mesh("tail", "--no-follow", "--kind", "model.asked").out
    assert "only the newest 64 MB of the calls of an arena are kept" in mesh("show", "4").out
    refused(mesh("show", "4", "--answer"), ExitCode.FAILED, "the answer of fact #4 is gone: only the newest 64 MB")
    for word in ("5", "1"):
        refused(mesh("show", word, "--prompt"), ExitCode.BAD_INPUT, "has no kept model call; name a proposal")


async def test_sql_lists_all_calls_with_what_came_of_them(tmp_path: Path) -> None:
    kept = pack_call(CALL)[0]
    origin = Origin(how="model", name="x/y")
    idea = ProposalPosted(
        tree=git_hash("t"), commit=git_hash("c"), title="improve: t", origin=origin, cost=_cost(), call=kept
    )
    facts: list[Fact] = [
        ("op", opened()),
        ("ann", ModelAsked(model="x/y", purpose="improve", ok=True, cost=_cost(), text="no change", call=kept)),
        ("ann", idea),
        ("eve", replace(idea, tree=git_hash("s"), origin=Origin(how="sampler"), cost=None, call=None)),
        ("cid", CritiquePosted(target=git_hash("t"), verdict="warn", cost=_cost(), call=kept)),
        ("dan", CritiquePosted(target=git_hash("t"), verdict="warn")),
    ]
    async with folded(tmp_path / "a.duckdb", facts) as queries:
        columns = "seq, author, became, target, purpose, why, usd, tokens_in, prompt_bytes, answer_bytes"
        found = await rows(queries, f"SELECT {columns} FROM model_calls")
    t = git_hash("t")
    assert found == [
        [2, "ann", "unused", None, "improve", "no change", 0.5, 10, 9, 8],
        [3, "ann", "proposal", t, "improve", None, 0.5, 10, 9, 8],
        [5, "cid", "critique", t, "critique", None, 0.5, 10, 9, 8],
    ]
