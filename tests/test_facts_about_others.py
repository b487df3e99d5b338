"""What a member says of somebody else has no effect, on a board and in SQL: a row for each kind of fact."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from analytics.projection import Projection
from mesh import events as e
from mesh import wire
from mesh.accounts.rights import WHO_POSTS
from mesh.board import Board
from mesh.hand_outs import BY_STARTER
from mesh.memory import MemoryHub
from mesh.ruling_out import FIXED
from mesh.wire import HUB_AUTHOR, Post
from mesh_cli.proposals.card import card
from mesh_cli.proposals.describe import about_run
from mesh_cli.proposals.not_counted import finishes_not_counted
from tests.support.history import T1, T2, Fact, entries, finish, opened, promote, proposal, request

GPU7 = e.WorkerJoined(boot="b7", worker_class="cpu", device="cpu", slots=3, price_per_hour_usd=1.0)
ANN = e.AgentJoined(boot="a1", role="explorer")
KILLED = e.Failed(reason="killed", message="")
STRICT: list[Fact] = [
    ("op", replace(opened(), rules=BY_STARTER)),
    ("gpu7", GPU7),
    ("eve", replace(GPU7, boot="e1", slots=1)),
    ("ann", ANN),
    ("eve", replace(ANN, boot="e2")),
    ("ann", proposal(T1)),
    ("cid", e.CritiquePosted(target=T1, verdict="endorse")),
    ("cur", request("r1", T1)),
    ("cur", request("r2", T1, 2)),
    ("cur", request("r3", T1, 3)),
    ("gpu7", e.RunStarted(run="r1", attempt=1, worker="b7")),
    ("gpu7", e.RunStarted(run="r2", attempt=1, worker="b7")),
    ("gpu7", replace(finish("r2", T1, 2.0), worker="b7")),
]
"""Worker gpu7 has begun the run r1 and finished r2, nobody has begun r3; eve has joined as a worker and as an agent."""

OF_OTHERS: dict[str, list[e.AnyEvent]] = {
    "worker.joined": [replace(GPU7, slots=1000, price_per_hour_usd=1e6, owner="eve")],
    "worker.left": [e.WorkerLeft(boot="b7"), e.WorkerLeft(boot="b7", silent=True), e.WorkerLeft(boot="nobody")],
    "agent.joined": [replace(ANN, role="critic", model="m")],
    "agent.left": [e.AgentLeft(boot="a1"), e.AgentLeft(boot="nobody")],
    "run.started": [
        e.RunStarted(run="r3", attempt=1, worker="b7"),
        e.RunStarted(run="r1", attempt=2, worker="b7"),
        e.RunStarted(run="r1", attempt=1, worker="e1"),
        e.RunStarted(run="r2", attempt=2, worker="e1"),
        e.RunStarted(run="r3", attempt=1, worker="nobody"),
    ],
    "run.finished": [
        replace(finish(run, T1, outcome), worker=worker)
        for run in ("r1", "r2", "r3")
        for worker in ("b7", "e1", "nobody")
        for outcome in (-9.0, KILLED)
    ],
    "proposal.posted": [proposal(T1, T2), replace(proposal(T1), cost=e.Cost(usd=1e9))],
}
"""By kind, what a member may post of somebody else."""

OF_ITSELF = {
    "critique.posted": "an opinion of its author; the curator weighs it",
    "note.posted": "a text of its author",
    "model.asked": "a call of its author, which its author pays for",
}
"""Kinds whose subject is the author itself."""


def board_of(history: list[Fact]) -> tuple[Board, list[bool]]:
    board = Board(arena="a")
    return board, [board.fold(entry) for entry in entries(history)]


def state(board: Board) -> dict[str, Any]:
    """Return all of a board but how far it is, and the entries that do not count."""
    found: dict[str, Any] = msgspec.to_builtins({**msgspec.structs.asdict(board), "proposals": {}, "runs": {}})
    found["proposals"] = msgspec.to_builtins({tree: board.proposals[tree] for tree in board.proposals})
    found["runs"] = msgspec.to_builtins({run: board.runs[run] for run in board.runs})
    return {name: value for name, value in found.items() if name not in ("seq", "time", "void", "full")}


def views(path: Path, history: list[Fact]) -> dict[str, list[tuple[Any, ...]]]:
    """Return what all views say of a history, but those of the entries themselves."""
    path.unlink(missing_ok=True)
    projection, log = Projection.open(path), entries(history)
    projection.checkpoint("a", "log", len(log))
    projection.append("a", "log", log)
    with projection.cursor() as db:
        names = [
            name
            for (name,) in db.execute(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_schema = 'main' AND table_type = 'VIEW' ORDER BY 1"
            ).fetchall()
        ]
        asked = [name for name in names if name not in ("events", "not_counted")]
        found = {name: sorted(db.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for name in asked}
    projection.close()
    return found


def test_every_kind_is_refused_by_the_server_or_has_a_row() -> None:
    open_to_members = {kind for kind in e.KINDS if {"worker", "agent"} & {*WHO_POSTS[kind]}}
    assert open_to_members == OF_OTHERS.keys() | OF_ITSELF.keys()
    assert all(e.kind_of(event) == kind for kind, events in OF_OTHERS.items() for event in events)


@pytest.mark.parametrize("kind", OF_OTHERS)
def test_what_a_member_says_of_another_changes_nothing_on_a_board_and_in_sql(kind: str, tmp_path: Path) -> None:
    before, _ = board_of(STRICT)
    told: list[Fact] = [("eve", event) for event in OF_OTHERS[kind]]
    after, counted = board_of([*STRICT, *told])
    assert not any(counted[len(STRICT) :])
    assert state(after) == state(before)
    assert views(tmp_path / "a.duckdb", [*STRICT, *told]) == views(tmp_path / "a.duckdb", STRICT)


def test_what_they_say_of_themselves_and_what_the_hub_says_counts(tmp_path: Path) -> None:
    own: list[Fact] = [
        ("gpu7", replace(finish("r1", T1, 1.0), worker="b7")),
        ("ann", e.AgentLeft(boot="a1")),
        ("eve", e.WorkerLeft(boot="e1")),
        (HUB_AUTHOR, e.WorkerLeft(boot="b7", reason="does not answer", silent=True)),
    ]
    board, counted = board_of([*STRICT, *own])
    assert all(counted)
    assert [board.workers[boot].left for boot in ("b7", "e1")] == [True, True]
    assert (board.workers["b7"].silent, board.workers["e1"].silent, board.agents["a1"].left) == (True, False, True)
    found = views(tmp_path / "a.duckdb", [*STRICT, *own])["workers"]
    assert sorted(row[1] for row in found if "left" in row) == ["eve", "gpu7"]


def test_the_hub_says_of_a_worker_that_it_is_silent_and_nothing_else() -> None:
    board, counted = board_of([*STRICT, (HUB_AUTHOR, e.WorkerLeft(boot="b7")), (HUB_AUTHOR, e.AgentLeft(boot="a1"))])
    assert counted[-2:] == [False, False]
    assert not board.workers["b7"].left


def test_a_version_of_before_counts_whoever_says_that_somebody_left(tmp_path: Path) -> None:
    history = [("op", opened()), *STRICT[1:], ("eve", e.WorkerLeft(boot="b7")), ("eve", e.AgentLeft(boot="a1"))]
    board, counted = board_of(history)
    assert all(counted)
    assert board.workers["b7"].left
    assert board.agents["a1"].left
    assert ["left" in row for row in views(tmp_path / "a.duckdb", history)["workers"]].count(True) == 1


@pytest.mark.parametrize(
    ("by", "rules", "is_out"),
    [("eve", BY_STARTER, False), ("critic-2", BY_STARTER, True), ("op", BY_STARTER, True), ("eve", 0, True)],
)
def test_a_member_takes_the_title_from_no_champion(by: str, rules: int, is_out: bool, tmp_path: Path) -> None:
    history: list[Fact] = [("op", replace(opened(), rules=rules)), ("ann", proposal(T1)), ("ann", proposal(T2))]
    history += [("cur", promote(T1, "", 1)), ("cur", promote(T2, T1, 2))]
    history.append((by, e.CritiquePosted(target=T2, verdict="block", rule=FIXED, text="changed K")))
    board, counted = board_of(history)
    assert counted[-1]
    assert (board.champion, board.heir) == (("", T1) if is_out else (T2, ""))
    found = views(tmp_path / "a.duckdb", history)["proposals"]
    assert [("champion" in row) for row in found if T2 in row] == [not is_out]


async def test_a_run_is_shown_with_the_finishes_that_do_not_count() -> None:
    history = [
        *STRICT,
        ("eve", replace(finish("r1", T1, -9.0), worker="b7")),
        ("gpu7", replace(finish("r1", T1, 1.0), worker="b7")),
    ]
    history.append(("eve", replace(finish("r1", T1, -8.0), worker="e1")))
    bus, board = await MemoryHub().arena("a", create=True), board_of(history)[0]
    for author, fact in history:
        post = Post.new(author, fact)
        bus.append_raw(wire.subject_of("a", post), wire.encode(post))
    known = {"what": "run", **about_run(board, "r1"), "not_counted": await finishes_not_counted(bus, board, "r1")}
    assert [line for line in card(board, known) if "does not count" in line] == [
        "does not count: #14 by eve: finished r1: -9.0000 in 2.0 s (its author had not begun the run)",
        "does not count: #16 by eve: finished r1: -8.0000 in 2.0 s (the run had finished)",
    ]
