"""Proof by other owners, audits of scores, and quarantine: the curator's rules, the board and SQL."""

import datetime as dt
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from agents.curation.audits import (
    Accuser,
    in_quarantine,
    is_disputed,
    with_other_owners,
)
from agents.curation.keeper import FREED_AFTER_S, QueueKeeper
from analytics.projection import Projection
from gpu_worker.triage import Execute, Leave, triage
from mesh import events as e
from mesh.board import Board
from mesh.hand_outs import BY_STARTER
from mesh.records import Contradiction
from mesh.spec import ObjectiveSpec
from tests.support.folding import folded, rows
from tests.support.history import SPEC, T1, T2, Fact, entries, finish, opened, promote, proposal, request
from tests.test_keeper import board_of
from tests.test_triage import ME

EXACT = replace(SPEC, objective=ObjectiveSpec(metric="loss", direction="minimize", noise="none"))
OPENED = replace(opened(), spec=EXACT, rules=BY_STARTER)


def joined(name: str, owner: str = "", worker_class: str = "cpu") -> Fact:
    life = e.WorkerJoined(boot=f"b-{name}", worker_class=worker_class, device="cpu", slots=1, owner=owner)
    return name, life


def ran(run: str, worker: str, value: float, asked: e.RunRequested | None = None, tree: str = T1) -> list[Fact]:
    """Return the facts of a run by a worker; without `asked` it is one of search."""
    done = replace(finish(run, tree, value), worker=f"b-{worker}")
    return [
        ("cur", asked or request(run, tree)),
        (worker, e.RunStarted(run=run, attempt=1, worker=f"b-{worker}")),
        (worker, done),
    ]


def audit(run: str, worker: str, value: float, by: str, found: float, tolerance: float = 0.0) -> list[Fact]:
    """Return the facts of an audit of a score."""
    checked = e.Audit(run=run, worker=worker, value=value, tolerance=tolerance)
    asked = replace(request(f"{run}-audit", T1), lane="audit", not_by=(worker,), audit=checked)
    return ran(asked.run, by, found, asked)


Said = tuple[str, float]
"""A worker and its score."""


def decided(run: str, said: Said, other: Said, third: Said, tolerance: float = 0.0) -> list[Fact]:
    """Return the facts of a score, of an audit that differs, and of the second audit that decides."""
    first = audit(run, *said, *other, tolerance)
    checked = e.Audit(run=run, worker=said[0], value=said[1], tolerance=tolerance, other=other[0], other_value=other[1])
    asked = replace(request(f"{run}-audit2", T1), lane="audit", not_by=(said[0], other[0]), audit=checked)
    return [*ran(run, *said), *first, *ran(asked.run, *third, asked)]


FLEET: list[Fact] = [("op", OPENED), *map(joined, ("gpu7", "gpu8", "gpu9")), ("ann", proposal(T1))]


def test_an_audit_says_nothing_of_its_proposal() -> None:
    board = board_of([*FLEET, *ran("r1", "gpu7", 2.0), *audit("r1", "gpu7", 2.0, "gpu8", 1.0)])
    assert (board.scores(T1), board.proposals[T1].runs, board.proposals[T1].sealed) == ([2.0], ("r1",), ("r1-audit",))
    assert board.sealed_score(T1) is None


def test_a_worker_that_others_contradict_about_two_scores_is_in_quarantine() -> None:
    once = [*FLEET, *decided("r1", ("gpu7", 2.0), ("gpu8", 5.0), ("gpu9", 5.0))]
    assert board_of(once).doubts.contradictions == {"gpu7": {"r1": Contradiction("r1-audit2", ("gpu8", "gpu9"))}}
    assert in_quarantine(board_of(once)) == []
    twice = [*once, *decided("r2", ("gpu7", 2.0), ("gpu9", 5.0), ("gpu8", 5.0))]
    assert in_quarantine(board_of(twice)) == ["gpu7"]


def test_an_audit_that_lies_speaks_against_the_one_who_made_it() -> None:
    board = board_of([*FLEET, *decided("r1", ("gpu7", 2.0), ("gpu8", 5.0), ("gpu9", 2.0))])
    assert board.doubts.contradictions == {"gpu8": {"r1": Contradiction("r1-audit2", ("gpu7", "gpu9"))}}


def test_what_decides_nothing_contradicts_nobody() -> None:
    first = [*FLEET, *ran("r1", "gpu7", 2.0), *audit("r1", "gpu7", 2.0, "gpu8", 5.0)]
    assert board_of(first).doubts.contradictions == {}
    unlike = [*FLEET, *decided("r1", ("gpu7", 2.0), ("gpu8", 5.0), ("gpu9", 9.0))]
    assert board_of(unlike).doubts.contradictions == {}
    between = [*FLEET, *decided("r1", ("gpu7", 2.0), ("gpu8", 5.0), ("gpu9", 3.5), tolerance=2.0)]
    assert board_of(between).doubts.contradictions == {}
    itself = decided("r1", ("gpu7", 2.0), ("gpu8", 5.0), ("gpu8", 5.0))
    freed = [(who, replace(fact, not_by=()) if isinstance(fact, e.RunRequested) else fact) for who, fact in itself]
    assert board_of([*FLEET, *freed]).runs["r1-audit2"].value == 5.0
    assert board_of([*FLEET, *freed]).doubts.contradictions == {}


def test_scores_within_the_tolerance_contradict_nobody() -> None:
    near = [*ran("r1", "gpu7", 2.0), *audit("r1", "gpu7", 2.0, "gpu8", 2.5, tolerance=0.5)]
    board = board_of([*FLEET, *near])
    assert not is_disputed(board, board.runs["r1-audit"])
    far = [*ran("r1", "gpu7", 2.0), *audit("r1", "gpu7", 2.0, "gpu8", 2.6, tolerance=0.5)]
    board = board_of([*FLEET, *far])
    assert is_disputed(board, board.runs["r1-audit"])
    third = decided("r1", ("gpu7", 2.0), ("gpu8", 2.6), ("gpu9", 2.9), tolerance=0.5)
    assert board_of([*FLEET, *third]).doubts.contradictions == {
        "gpu7": {"r1": Contradiction("r1-audit2", ("gpu8", "gpu9"))}
    }


def test_two_liars_that_an_honest_worker_audits_do_not_put_it_in_quarantine() -> None:
    """Each of them was one voice against it."""
    fleet: list[Fact] = [("op", OPENED), *map(joined, ("eve", "mal", "gpu7", "gpu8")), FLEET[-1]]
    lies = [*decided("r1", ("eve", 2.0), ("gpu7", 5.0), ("gpu8", 5.0))]
    lies += decided("r2", ("mal", 2.0), ("gpu7", 5.0), ("gpu8", 5.0))
    assert board_of([*fleet, *lies]).doubts.contradictions == {
        "eve": {"r1": Contradiction("r1-audit2", ("gpu7", "gpu8"))},
        "mal": {"r2": Contradiction("r2-audit2", ("gpu7", "gpu8"))},
    }


def test_who_was_put_in_quarantine_by_two_that_are_found_to_lie_is_released() -> None:
    fleet: list[Fact] = [("op", OPENED), *map(joined, ("eve", "mal", "gpu7", "gpu8", "gpu9")), FLEET[-1]]
    lies = decided("r1", ("gpu7", 2.0), ("eve", 5.0), ("mal", 5.0)) + decided(
        "r2", ("gpu7", 2.0), ("mal", 5.0), ("eve", 5.0)
    )
    history = [*fleet, *lies]
    assert in_quarantine(board_of(history)) == ["gpu7"]
    for run, who in (("r3", "eve"), ("r4", "mal"), ("r5", "eve")):
        history += decided(run, (who, 2.0), ("gpu8", 5.0), ("gpu9", 5.0))
    assert in_quarantine(board_of(history)) == ["gpu7", "eve"]
    history += decided("r6", ("mal", 2.0), ("gpu8", 5.0), ("gpu9", 5.0))
    assert in_quarantine(board_of(history)) == ["eve", "mal"]
    accuser = Accuser()
    assert accuser.due(board_of([*fleet, *lies])) == []
    notes = [note.text for note in accuser.due(board_of(history))]
    assert [text.partition(":")[0] for text in notes] == [
        "worker eve of eve is in quarantine",
        "worker mal of mal is in quarantine",
        "worker gpu7 is in quarantine no more",
    ]
    freed = [*history, *ran("r7", "gpu7", 2.0)]
    assert board_of(freed).runs["r7"].value == 2.0


def test_what_a_worker_says_of_its_owner_gives_it_no_second_voice() -> None:
    """A worker that joined as one owner and then as another one was two owners."""
    eve = [
        joined("eve", "one"),
        ("eve", e.WorkerJoined(boot="b2", worker_class="cpu", device="", slots=1, owner="two")),
    ]
    history = [*FLEET, eve[0], *decided("r1", ("gpu7", 2.0), ("eve", 5.0), ("gpu8", 2.0)), eve[1]]
    history += audit("r2", "gpu7", 2.0, "eve", 5.0)
    assert board_of(history).doubts.contradictions == {"eve": {"r1": Contradiction("r1-audit2", ("gpu7", "gpu8"))}}


QUARANTINED = [
    *FLEET,
    *decided("r1", ("gpu7", 2.0), ("gpu8", 5.0), ("gpu9", 5.0)),
    *decided("r2", ("gpu7", 3.0), ("gpu9", 5.0), ("gpu8", 5.0)),
]


def test_a_worker_in_quarantine_takes_no_runs_and_what_it_finishes_does_not_count() -> None:
    before = QUARANTINED[:-1]
    begun: list[Fact] = [("cur", request("r3", T1)), ("gpu7", e.RunStarted(run="r3", attempt=1, worker="b-gpu7"))]
    late: Fact = ("gpu7", replace(finish("r3", T1, 0.5), worker="b-gpu7"))
    board = board_of([*before, *begun, QUARANTINED[-1], late])
    assert "r3" in board.unfinished
    assert board.scores(T1) == [2.0, 3.0]
    again: list[Fact] = [joined("gpu7"), ("gpu7", e.WorkerJoined(boot="b2", worker_class="cpu", device="", slots=1))]
    board = board_of(
        [*QUARANTINED, *again, ("cur", request("r4", T1)), ("gpu7", e.RunStarted(run="r4", attempt=1, worker="b2"))]
    )
    assert board.runs["r4"].attempts == 0
    run = board.runs["r4"]
    assert isinstance(triage(board, run.requested, run.seq, replace(ME, boot="b2", name="gpu7")), Leave)
    assert triage(board, run.requested, run.seq, replace(ME, boot="b-gpu8", name="gpu8")) == Execute()


def test_people_are_told_once_who_is_in_quarantine_and_why() -> None:
    accuser = Accuser()
    assert accuser.due(board_of(QUARANTINED[:-1])) == []
    [note] = accuser.due(board_of(QUARANTINED), {"gpu7": "eve"})
    assert note.text == (
        "worker gpu7 of eve is in quarantine: two others got other scores than it did (r1: 2, but 5 by gpu8 and 5 by "
        "gpu9; r2: 3, but 5 by gpu9 and 5 by gpu8); it takes no more runs, and what it finishes from now on does not "
        "count"
    )
    assert accuser.due(board_of(QUARANTINED)) == []
    assert Accuser().due(board_of(QUARANTINED)) == []


def confirm(tree: str = T1, lane: e.Lane = "confirm") -> e.RunRequested:
    return replace(request("c1", tree), lane=lane)


def asked_of(history: Sequence[Fact], asked: e.RunRequested, owners: dict[str, str] | None = None) -> tuple[str, ...]:
    [found] = with_other_owners(board_of(history), [asked], owners or {})
    assert isinstance(found, e.RunRequested)
    return found.not_by


def test_what_proves_is_asked_of_another_owner_than_the_author_s_and_the_first_scorer_s() -> None:
    fleet: list[Fact] = [("op", OPENED), joined("gpu7", "lab"), joined("gpu8", "lab"), joined("gpu9", "ann-inc")]
    author: Fact = ("ann", e.AgentJoined(boot="a", role="explorer", owner="ann-inc"))
    scored = [*fleet, author, ("ann", proposal(T1)), *ran("r1", "gpu7", 2.0)]
    assert asked_of(scored, confirm()) == ()  # both owners have a hand in it
    other = [*scored, joined("gpu1", "uni")]
    assert asked_of(other, confirm()) == ("gpu7", "gpu8", "gpu9")
    assert asked_of(other, confirm(lane="sealed")) == ("gpu7", "gpu8", "gpu9")
    assert asked_of(other, confirm(lane="control")) == ()
    assert asked_of(other, confirm(lane="explore")) == ()
    assert asked_of(other, confirm(), {"gpu1": "lab"}) == ()  # what the hub says comes before what a worker says
    assert asked_of([*other, ("gpu1", e.WorkerLeft(boot="b-gpu1"))], confirm()) == ()
    assert asked_of([("op", opened()), *other[1:]], confirm()) == ()


def test_the_champion_s_runs_of_a_race_are_asked_of_others_than_those_of_its_challengers() -> None:
    """Whoever says that the champion is bad proves its own challenger."""
    fleet: list[Fact] = [("op", OPENED), *(joined(f"gpu{number}") for number in range(5)), joined("ann-2", "ann")]
    posted: list[Fact] = [("bob", proposal(T1)), ("ann", proposal(T2))]
    history = [*fleet, *posted, *ran("r1", "gpu0", 2.0), *ran("r2", "gpu1", 1.0, tree=T2), ("cur", promote(T1, "", 1))]
    board = board_of(history)
    assert board.champion == T1
    against = replace(request("c2", T2, 1001), lane="confirm", race=1)
    champion = replace(request("c1", T1, 1001), lane="control", race=1)
    between = replace(champion, run="c3", seed=1501)
    found = with_other_owners(board, [against, champion, between])
    both = ("ann-2", "gpu1")
    assert found == [replace(against, not_by=both), replace(champion, not_by=both), between]
    later = with_other_owners(board_of([*history, ("cur", against)]), [replace(champion, run="c4", seed=1002)])
    assert later == [replace(champion, run="c4", seed=1002, not_by=both)]
    only = [fact for fact in history if fact[0] not in ("gpu0", "gpu2", "gpu3", "gpu4")]
    assert with_other_owners(board_of(only), [against, champion]) == [against, champion]  # nobody else is there


def test_unknown_owners_are_their_own_names() -> None:
    assert asked_of([*FLEET, *ran("r1", "gpu7", 2.0)], confirm()) == ("gpu7",)


def test_a_worker_that_must_not_take_a_run_leaves_it_and_its_start_does_not_count() -> None:
    asked = replace(confirm(), not_by=("gpu7",))
    history: list[Fact] = [*FLEET, ("cur", asked), ("gpu7", e.RunStarted(run="c1", attempt=1, worker="b-gpu7"))]
    history += [("gpu7", replace(finish("c1", T1, 0.1), worker="b-gpu7"))]
    board = board_of(history)
    assert (board.runs["c1"].attempts, board.scores(T1)) == (0, [])
    seq = board.runs["c1"].seq
    assert isinstance(triage(board, asked, seq, replace(ME, boot="b-gpu7", name="gpu7")), Leave)
    assert triage(board, asked, seq, replace(ME, boot="b-gpu8", name="gpu8")) == Execute()


def test_a_run_that_waits_for_others_is_given_to_anybody_once_they_are_gone() -> None:
    asked = replace(confirm(), not_by=("gpu7",))
    fleet: list[Fact] = [("op", OPENED), joined("gpu7"), joined("gpu8"), ("ann", proposal(T1)), ("cur", asked)]
    gone = board_of([*fleet, ("gpu8", e.WorkerLeft(boot="b-gpu8"))])

    def asked_after(board: Board, after_s: float) -> list[e.AnyEvent]:
        keeper, then = QueueKeeper(), board.time
        assert keeper.decide(board, then, {}) == []
        return keeper.decide(board, then.fromtimestamp(then.timestamp() + after_s, then.tzinfo), {})

    assert asked_after(gone, FREED_AFTER_S - 1) == []
    assert asked_after(gone, FREED_AFTER_S) == [replace(asked, run="c1-k1", instead_of="c1", not_by=())]
    there = board_of(fleet)
    assert asked_after(there, FREED_AFTER_S) == []
    most_s = asked.deadline_s + there.spec.score.deadline_s + FREED_AFTER_S
    assert asked_after(there, most_s) == [replace(asked, run="c1-k1", instead_of="c1", not_by=())]


def test_an_audit_that_nobody_took_is_not_given_to_the_workers_that_it_checks_while_others_are_there() -> None:
    audit_of = e.Audit(run="r", worker="gpu7", value=2.0, tolerance=0.0, other="gpu8", other_value=5.0)
    asked = replace(request("r-audit2", T1), lane="audit", not_by=("gpu1", "gpu7", "gpu8"), audit=audit_of)
    there: list[Fact] = [*FLEET, joined("gpu1"), ("cur", asked)]
    gone: Fact = ("gpu9", e.WorkerLeft(boot="b-gpu9"))

    def freed(history: list[Fact]) -> list[tuple[str, ...]]:
        board, keeper = board_of(history), QueueKeeper()
        keeper.decide(board, board.time, {})
        later = keeper.decide(board, board.time + dt.timedelta(seconds=FREED_AFTER_S), {})
        return [each.not_by for each in later if isinstance(each, e.RunRequested)]

    assert freed(there) == []
    assert freed([*there, gone]) == [("gpu7", "gpu8")]
    assert freed([*there, gone, ("gpu1", e.WorkerLeft(boot="b-gpu1"))]) == [()]
    again = replace(asked, run="r-audit2-k1", instead_of="r-audit2", not_by=("gpu7", "gpu8"))
    assert freed([*there, gone, ("cur", again), ("gpu1", e.WorkerLeft(boot="b-gpu1"))]) == [()]


async def test_sql_ranks_without_audits_and_counts_nothing_of_who_is_in_quarantine(tmp_path: Path) -> None:
    late: list[Fact] = [*ran("r3", "gpu7", 0.5), *ran("r4", "gpu8", 2.5)]
    history = [*QUARANTINED, *late]
    async with folded(tmp_path / "a.duckdb", history) as queries:
        assert await rows(queries, "SELECT run, value FROM scores ORDER BY finished_seq") == [
            ["r1", 2.0],
            ["r2", 3.0],
            ["r4", 2.5],
        ]
        assert await rows(queries, "SELECT run, attempts FROM runs WHERE run IN ('r3', 'r4') ORDER BY run") == [
            ["r3", 0],
            ["r4", 1],
        ]
    assert board_of(history).scores(T1) == [2.0, 3.0, 2.5]


async def test_what_a_worker_in_quarantine_finishes_is_shown_with_the_reason(tmp_path: Path) -> None:
    begun: list[Fact] = [("cur", request("r3", T1)), ("gpu7", e.RunStarted(run="r3", attempt=1, worker="b-gpu7"))]
    late: Fact = ("gpu7", replace(finish("r3", T1, 0.5), worker="b-gpu7"))
    async with folded(tmp_path / "a.duckdb", [*QUARANTINED[:-1], *begun, QUARANTINED[-1], late]) as queries:
        found = await rows(queries, "SELECT author, run, why FROM not_counted")
    assert found == [["gpu7", "r3", "its author is in quarantine"]]


def test_the_board_and_sql_agree_on_audits_wherever_a_batch_ends(tmp_path: Path) -> None:
    names, path, quarantines = ("gpu7", "gpu8", "gpu9", "gpu1"), tmp_path / "a.duckdb", 0
    for seed in range(12):
        rng = random.Random(seed)
        history: list[Fact] = [("op", OPENED), *(joined(name, rng.choice(("", "lab"))) for name in names)]
        history += [("ann", proposal(T1)), ("ann", proposal(T2))]
        for number in range(40):
            worker, by, value = rng.choice(names), rng.choice(names), float(rng.randrange(3))
            history += ran(f"r{number}", worker, value, tree=(tree := rng.choice((T1, T2))))
            if rng.random() < 0.4:
                found = value if worker != "gpu7" and rng.random() < 0.9 else 9.0
                third = rng.choice((value, found, 5.0))
                told = decided(f"r{number}", (worker, value), (by, found), (rng.choice(names), third))[3:]
                history += [(who, _about(fact, tree)) for who, fact in told]
        board, log = board_of(history), entries(history)
        projection = Projection.open(path)
        projection.checkpoint("a", f"log {seed}", len(log))
        while log:
            batch, log = log[: (size := rng.choice((7, 30, 200)))], log[size:]
            projection.append("a", f"log {seed}", batch)
            if rng.random() < 0.1:
                projection.close()
                projection = Projection.open(path)
        with projection.cursor() as db:
            runs = db.execute("SELECT run, attempts, value FROM runs ORDER BY seq").fetchall()
            scores = db.execute("SELECT run FROM scores ORDER BY run").fetchall()
        projection.close()
        assert runs == [(name, run.attempts, run.value) for name, run in board.runs.items()], seed
        counted = sorted(
            name for name, run in board.runs.items() if run.value is not None and run.requested.audit is None
        )
        assert [run for (run,) in scores] == counted, seed
        quarantines += len(in_quarantine(board))
    assert quarantines > 3


def _about(fact: e.AnyEvent, tree: str) -> e.AnyEvent:
    return msgspec.structs.replace(fact, proposal=tree) if isinstance(fact, e.RunRequested | e.RunFinished) else fact
