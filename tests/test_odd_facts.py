"""One odd fact does not reach into what comes later: no race, version or snapshot of the swarm's own depends on it."""

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.curation.admission import decide
from agents.curation.race_log import current_race
from mesh import wire
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.bounds import MAX_INTEGER
from mesh.errors import BadInput
from mesh.events import ArenaClosed, BudgetGranted, Cost, CritiquePosted, ModelAsked, NotePosted
from mesh.follow import SNAPSHOT_EVERY, Follower
from mesh.memory import MemoryBus
from mesh.spec import ArtifactSpec, ScoreSpec, TrialSpec
from mesh.testing import SPEC, Log, git_hash, opened, requested
from mesh.wire import Post

BASE, BETTER = map(git_hash, ("base", "better"))

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MEASURED = msgspec.structs.replace(SPEC, objective=msgspec.structs.replace(SPEC.objective, noise="measured"))


@pytest.mark.parametrize("seed", [MAX_INTEGER, -(2**63), 10**15])
def test_a_confirmation_run_with_a_huge_seed_does_not_make_the_next_race_impossible(seed: int) -> None:
    log = Log(MEASURED)
    log.open()
    log.propose(BASE, how="baseline")
    for number in range(1, 5):
        if log.board.champion:
            break
        log.score(BASE, *([1.0] * number))
        for event in decide(log.board, NOW):
            log.add("curator", event)
    log.add("eve", msgspec.structs.replace(requested(BASE, seed=seed, lane="confirm"), run="eve", race=0))
    assert current_race(log.board) in (0, 1)
    log.propose(BETTER)
    log.score(BETTER, 0.5)
    for _ in range(20):
        for event in decide(log.board, NOW):
            assert wire.encode(Post.new("curator", event))


def entry(seq: int, event: ArenaClosed) -> wire.Entry:
    post = Post(id=f"p{seq}", at=NOW, author="eve", event=event)
    return wire.entry(seq, NOW, wire.subject_of("a", post), wire.encode(post))


def test_a_version_that_was_closed_before_it_was_opened_is_left_out() -> None:
    log = Log()
    log.open()
    for version in (2, 3, 5):
        log.add("eve", ArenaClosed(version=2, reason="operator") if version == 2 else BudgetGranted(n=version))
    assert log.board.closed is None
    assert log.board.next_version == 3
    again = from_bytes(to_bytes(log.board))
    assert again is not None
    assert again.next_version == 3
    log.add("operator", msgspec.structs.replace(opened(), version=3))
    assert log.board.opened is not None
    assert (log.board.opened.version, log.board.closed, log.board.next_version) == (3, None, 4)


@pytest.mark.parametrize("version", [3, 2**31, 2**53])
def test_more_versions_than_entries_are_not_understood(version: int) -> None:
    closed = entry(2, ArenaClosed(version=version, reason="operator"))
    assert closed.post is None
    post = Post(id="p", at=NOW, author="eve", event=msgspec.structs.replace(opened(), version=version))
    assert wire.entry(2, NOW, wire.subject_of("a", post), wire.encode(post)).post is None


BROKEN: dict[str, dict[str, Any]] = {
    "nothing editable": {"artifact": ArtifactSpec(editable=())},
    "a path that leaves": {"artifact": ArtifactSpec(editable=("../x",))},
    "no command": {"trial": TrialSpec(command=(), budget_s=1, deadline_s=2)},
    "no scorer": {"score": ScoreSpec(how="command", command=())},
    "no pattern": {"score": ScoreSpec(how="stdout", pattern="(")},
    "two groups": {"score": ScoreSpec(how="stdout", pattern="(a)(b)")},
    "a deep pattern": {"score": ScoreSpec(how="stdout", pattern="(" * 3000 + ")" * 3000)},
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_specification_that_no_worker_can_use_is_not_understood(what: str) -> None:
    spec = msgspec.structs.replace(SPEC, **BROKEN[what])
    post = Post(id="p", at=NOW, author="eve", event=opened(spec))
    assert wire.entry(9, NOW, wire.subject_of("a", post), wire.encode(post)).post is None


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("usd", float("nan"), r"\$\.event\.cost\.usd is nan"),
        ("usd", float("inf"), r"\$\.event\.cost\.usd is inf"),
        ("tokens_in", 2**64, "<= 1000000000000"),
        ("tokens_in", 2**63, "<= 1000000000000"),
        ("tokens_in", -1, ">= 0"),
    ],
)
def test_what_no_reader_would_read_back_is_refused_in_one_sentence(field: str, value: float, where: str) -> None:
    cost = Cost(**{field: value})  # type: ignore[arg-type]
    for event in (
        ModelAsked(model="m", purpose="p", ok=False, cost=cost),
        CritiquePosted(target="t", verdict="warn", cost=cost),
    ):
        with pytest.raises(BadInput, match=where) as refused:
            wire.encode(Post.new("ann", event))
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith("a reader cannot decode this ")


@pytest.mark.parametrize("year", [1, 1899, 3000, 9999])
def test_a_time_that_some_reader_could_not_hold_is_refused_and_not_understood(year: int) -> None:
    note = NotePosted(channel="c", text="t")
    for zone in (14, -14):
        at = dt.datetime(year, 1 if year < 2000 else 12, 1, tzinfo=dt.timezone(dt.timedelta(hours=zone)))
        post = Post(id="p", at=at, author="eve", event=note)
        with pytest.raises(BadInput, match=f"its year is {year}, outside of 1900 to 2999"):
            wire.encode(post)
        assert wire.decode(wire.subject_of("a", post), msgspec.json.encode(post)) is None


def test_a_commit_of_any_other_form_is_refused_with_its_form() -> None:
    for commit in ("../../etc/x", "", git_hash("c")[:39], git_hash("c").upper(), git_hash("c") + "\n"):
        event = msgspec.structs.replace(requested("t"), commit=commit)
        with pytest.raises(BadInput, match=r"Expected `str` of 40 hex digits in lower case - at `\$\.event\.commit`"):
            wire.encode(Post.new("eve", event))


async def test_a_snapshot_that_cannot_be_saved_ends_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    boards = [Board(arena="a", seq=SNAPSHOT_EVERY), Board(arena="a", seq=SNAPSHOT_EVERY, tokens={"ann": 2**70})]
    for board, path in zip(boards, (tmp_path / "file" / "a.msgpack", tmp_path / "a.msgpack"), strict=True):
        follower = Follower(MemoryBus("a"), snapshot=path)
        follower.board = board
        follower.save()
        board.seq += SNAPSHOT_EVERY
        follower.save()
        told = capsys.readouterr().err
        assert told.startswith(f"{path} cannot be written: ")
        assert told.count("\n") == 1  # once in the life of a process
        assert not path.exists()
