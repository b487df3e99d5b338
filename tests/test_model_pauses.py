"""An agent whose model calls fail pauses: long for a provider that fails, shortly for answers that cannot be used."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from agents.llm.next_move import choose
from agents.researcher import Researcher
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import AgentJoined, AnyEvent, Cost, ModelAsked, NotePosted, ProposalPosted
from mesh.failed_calls import LOST, MANY_UNUSABLE, SHORT_PAUSE_S
from mesh.model_pauses import why_agents_pause
from mesh.testing import Arena, Log, git_hash, opened
from mesh_cli.live.summary import summary
from tests.support.model_server import ModelServer, fail, model_server, say
from tests.test_researcher import KEY, NAME, edit

FLAW = "the answer has no change"


def unusable(text: str = FLAW, model: str = NAME) -> ModelAsked:
    return ModelAsked(model=model, purpose="improve", ok=True, cost=Cost(tokens_in=10), text=text)


def unanswered(text: str = "no connection", purpose: str = "improve") -> ModelAsked:
    return ModelAsked(model=NAME, purpose=purpose, ok=False, cost=Cost(), text=text)


@pytest.fixture
def log() -> Log:
    """An arena with the researchers ann and bob."""
    log = Log()
    log.open()
    for name in ("ann", "bob"):
        log.add(name, AgentJoined(boot=name, role="researcher", model=NAME))
    return log


def pause_s(board: Board, name: str = "ann") -> float:
    """Seconds for which an agent pauses from now on."""
    failed = board.failed_calls.get(name)
    return max(0.0, (failed.until - board.time).total_seconds()) if failed else 0.0


def pauses_of(log: Log, events: list[AnyEvent], author: str = "ann") -> list[float]:
    """The pause after each of these facts, each of which is posted when the pause before it has ended."""
    found: list[float] = []
    for event in events:
        log.add(author, event, after_s=max(1.0, pause_s(log.board, author)))
        found.append(pause_s(log.board, author))
    return found


def test_a_provider_that_fails_is_asked_again_after_pauses_that_double_up_to_a_quarter_of_an_hour(log: Log) -> None:
    found = pauses_of(log, [unanswered()] * 9)
    assert found == [15.0, 30.0, 60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]
    assert pause_s(log.board, "bob") == 0.0


def test_answers_that_cannot_be_used_silence_nobody_and_ten_in_a_row_cost_no_money_without_end(log: Log) -> None:
    found = pauses_of(log, [unusable()] * 20)
    assert found[: MANY_UNUSABLE - 1] == [SHORT_PAUSE_S] * (MANY_UNUSABLE - 1)
    assert found[MANY_UNUSABLE - 1 :] == [60.0, 60.0, 120.0, 120.0, 240.0, 240.0, 480.0, 480.0, 900.0, 900.0, 900.0]


def test_a_question_and_its_repetition_pause_no_longer_than_one_answer(log: Log) -> None:
    log.add("ann", unusable())
    log.add("ann", unusable(), after_s=0.01)
    assert pause_s(log.board) == SHORT_PAUSE_S


def test_two_unusable_answers_then_a_good_one_leave_nothing_behind(log: Log) -> None:
    assert pauses_of(log, [unusable(), unusable()]) == [SHORT_PAUSE_S] * 2
    log.propose("good", author="ann")
    assert (pause_s(log.board), log.board.failed_calls) == (0.0, {})
    assert pauses_of(log, [unusable()]) == [SHORT_PAUSE_S]


def test_what_the_provider_answers_ends_its_row_of_failures_and_not_that_of_unusable_answers(log: Log) -> None:
    found = pauses_of(log, [unanswered(), unusable()] * 6)
    assert found == [15.0, SHORT_PAUSE_S] * 6
    failed = log.board.failed_calls["ann"]
    assert (failed.calls, failed.unusable, failed.unanswered) == (12, 6, 0)
    assert pauses_of(log, [unanswered(), unusable()] * 4)[-2:] == [15.0, 60.0]


def test_calls_that_fail_at_one_time_lengthen_the_pause_once(log: Log) -> None:
    for _ in range(4):  # a critic asks about several proposals at once
        log.add("ann", unanswered(), after_s=0.01)
    assert pause_s(log.board) == pytest.approx(15.0, abs=0.1)
    assert pauses_of(log, [unanswered()]) == [30.0]


def test_a_call_that_ended_with_its_process_is_no_failure_of_the_provider(log: Log) -> None:
    assert pauses_of(log, [unanswered(purpose=LOST), unusable(), unanswered(purpose=LOST)]) == [0.0, SHORT_PAUSE_S, 0.0]
    assert log.board.failed_calls["ann"].calls == 1


def test_another_model_and_a_new_version_begin_anew_and_a_restart_does_not(log: Log) -> None:
    pauses_of(log, [unanswered()] * 4)
    pauses_of(log, [unanswered()] * 4, "bob")
    log.add("ann", AgentJoined(boot="again", role="researcher", model=NAME))
    assert pause_s(log.board) > 0
    assert (kept := from_bytes(to_bytes(log.board)))
    assert kept.failed_calls == log.board.failed_calls
    log.add("ann", AgentJoined(boot="other", role="researcher", model="openai/another"))
    assert (pause_s(log.board), pause_s(log.board, "bob") > 0) == (0.0, True)
    log.add("operator", replace(opened(), version=2))
    assert log.board.failed_calls == {}


def test_a_pause_is_said_in_one_sentence_with_its_reason_and_its_end(log: Log) -> None:
    log.add("ann", unanswered("openai/test-model gave no answer in 5 requests: Connection error."))
    sentence = (
        "ann pauses after 1 failed call in a row: openai/test-model gave no answer in 5 requests: Connection error.; "
        f"it asks again at {log.board.time + dt.timedelta(seconds=15):%H:%M:%S} UTC"
    )
    assert why_agents_pause(log.board, log.board.time) == [sentence]
    assert why_agents_pause(log.board, log.board.time + dt.timedelta(seconds=15)) == []
    pauses_of(log, [unusable()] * (MANY_UNUSABLE - 1))
    assert why_agents_pause(log.board, log.board.time) == []  # they are short
    log.add("ann", unusable("the last flaw"), after_s=SHORT_PAUSE_S)
    [sentence] = why_agents_pause(log.board, log.board.time)
    assert sentence == (
        f"ann pauses: the last {MANY_UNUSABLE} answers of {NAME} could not be used, lately: the last flaw; it asks "
        f"again at {log.board.time + dt.timedelta(seconds=60):%H:%M:%S} UTC (mesh tail --kind model.asked lists them)"
    )


def test_the_last_words_of_a_swarm_say_who_pauses(log: Log, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pauses_of(log, [unusable()] * MANY_UNUSABLE)
    summary(log.board, 0, tmp_path)
    assert f"\nann pauses: the last {MANY_UNUSABLE} answers of {NAME} could not be used" in capsys.readouterr().out


def test_after_unusable_answers_the_question_is_about_other_parents_and_by_another_move(log: Log) -> None:
    log.propose("base", how="baseline")
    log.score("base", 10.0)
    for number in range(6):
        log.propose(f"p{number}", author="bob")
        log.score(f"p{number}", float(number))
    asked = [choose(log.board, "ann", 3, unusable=count) for count in range(20)]
    assert asked[0] == choose(log.board, "ann", 3)
    best = [git_hash(f"p{number}") for number in range(5)]
    assert [parents[0] for _, parents in asked[:12:2]] == [*best, best[0]]
    assert len({move for move, _ in asked}) > 1
    assert all(len(set(parents)) == len(parents) for _, parents in asked)


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    arena = Arena(tmp_path)
    arena.propose_baseline()
    arena.score(arena.base, 10.0)
    return arena


async def live(arena: Arena, server: ModelServer, names: Sequence[str], minutes: float) -> list[tuple[str, AnyEvent]]:
    """Let researchers tick every 5 s of the log's time, each restarted each time; return what they post."""
    said: list[tuple[str, AnyEvent]] = []
    end = arena.board.time + dt.timedelta(minutes=minutes)
    while (now := arena.board.time + dt.timedelta(seconds=5)) < end:
        arena.add("clock", NotePosted(channel="ops", text="tick"), after_s=5.0)
        for name in names:
            options = {"model": NAME, "api_base": server.url}
            for event in await arena.when(Researcher(arena.context(name, options)), now, name=name):
                arena.add(name, event, after_s=0.001)
                said.append((name, event))
    return said


@pytest.mark.parametrize("names", [("ann",), ("ann", "bob")])
async def test_a_model_whose_answers_are_never_usable_is_asked_seldom_and_that_is_said_once(
    arena: Arena, names: tuple[str, ...]
) -> None:
    script = [say(f"{n} words, and no change.") for n in range(200)]
    with model_server(*script) as server:
        said = await live(arena, server, names, 60)
    for name in names:
        asked = [event for author, event in said if author == name and isinstance(event, ModelAsked)]
        notes = [event for author, event in said if author == name and isinstance(event, NotePosted)]
        assert 22 <= len(asked) <= 26  # in the first hour, and eight in each further one
        [note] = notes
        assert note.channel == "search"
        assert note.text.startswith(
            f"{name} pauses: the last {MANY_UNUSABLE} answers of {NAME} could not be used, lately: the "
        )
    assert len(server.asked) == sum(isinstance(event, ModelAsked) for _, event in said)


async def test_two_unusable_answers_delay_the_next_question_by_seconds(arena: Arena) -> None:
    bad = say("No change.")
    script = [reply for n in range(20) for reply in (bad, bad, edit(f"LR = 0.{n + 1}"))]
    with model_server(*script) as server:
        said = await live(arena, server, ["ann"], 0.7)
    kinds = Counter(type(event) for _, event in said)
    assert kinds == {ModelAsked: 4, ProposalPosted: 2}  # then two proposals wait for their runs


async def test_a_provider_that_fails_is_left_in_peace_and_both_researchers_go_on_when_it_is_back(arena: Arena) -> None:
    down = fail(500, retry_after="0")
    with model_server(*[down] * 40, *[edit(f"LR = 0.{n + 1}") for n in range(9)]) as server:
        said = await live(arena, server, ["ann", "bob"], 6)
    assert len(server.asked) == 44  # five requests per call, so four calls each
    for name in ("ann", "bob"):
        kinds = Counter(type(event) for author, event in said if author == name)
        assert kinds == {ModelAsked: 4, ProposalPosted: 2}
