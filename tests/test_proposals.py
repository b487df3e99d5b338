"""From one thing on the board to the next: show, diff, lineage, children, leaves."""

import re
import time

import pytest
from msgspec.structs import replace

from gateway.resolve import Named, find, find_proposal
from mesh.board import Board
from mesh.errors import UnknownName
from mesh.events import (
    AgentJoined,
    Cost,
    CritiquePosted,
    CurvePoint,
    Failed,
    KnobChange,
    Origin,
    ProposalPosted,
    ProposalPromoted,
    RunFinished,
    RunStarted,
    WorkerJoined,
)
from mesh.families import Family, Way, family
from mesh.leaderboard import Ranking
from mesh.lean import put_texts_back
from mesh.testing import SPEC, Log, commit_hash, git_hash, requested, run_of
from mesh_cli.proposals import card, describe, diff, lineage
from tests.test_cli import HOSTILE, lab, mesh

__all__ = ["lab", "mesh"]

BASE, NEW = git_hash("base"), git_hash("new")
NAMES = ["base", "left", "right", "both", "lone", "one", "two", "gone", "next", "new", "good", "same", "claim", "none"]
NOISY = replace(SPEC, objective=replace(SPEC.objective, noise="measured"))


def propose(log: Log, tree: str, *parents: str, title: str = "", author: str = "ann") -> None:
    event = ProposalPosted(
        tree=git_hash(tree),
        commit=commit_hash(tree),
        parents=tuple(map(git_hash, parents)),
        title=title or f"title {tree}",
        origin=Origin(how="sampler"),
    )
    log.add(author, event)


def with_names(text: str) -> str:
    """The text with names in the place of ids."""
    for name in NAMES:
        tree = git_hash(name)
        for said in (tree, tree[:16], tree[:10]):
            text = text.replace(said, name)
    return text


def related(board: Board, root: str, way: Way, depth: int | None = None) -> Family:
    return family(board, git_hash(root), way, depth)


def line(board: Board, tree: str) -> str:
    return with_names(lineage.line(Ranking(board), git_hash(tree)))


def diamond() -> Board:
    """`base` has the children `left` and `right`, which have the child `both`; `lone` stands alone."""
    log = Log()
    log.open()
    for tree, *parents in (["base"], ["left", "base"], ["right", "base"], ["both", "left", "right"], ["lone"]):
        propose(log, tree, *parents)
    for tree, value in (("base", 4.0), ("left", 3.0), ("right", 2.0), ("both", 1.0)):
        log.score(tree, value)
    return log.board


def drawn(board: Board, root: str, way: Way, depth: int | None = None) -> list[str]:
    return [with_names(line) for line in lineage.drawn(related(board, root, way, depth), lambda tree: tree)]


def test_a_proposal_with_two_parents_is_drawn_once_and_so_is_what_is_reached_twice() -> None:
    board = diamond()
    assert drawn(board, "both", "up") == ["both", "├─ left", "│  base", "└─ right", "   ↑ see base"]
    assert drawn(board, "base", "down") == ["base", "├─ left", "│  both", "└─ right", "   ↑ see both"]
    assert drawn(board, "both", "up", 1) == ["both", "├─ left", "└─ right"]
    assert drawn(board, "both", "up", 0) == ["both"]
    assert related(board, "both", "up", 1).cut == 2


def test_rows_of_a_lineage_come_nearest_first_with_the_gain_over_the_best_parent() -> None:
    board = diamond()
    rows = lineage.rows(board, related(board, "both", "up"))
    assert [(with_names(str(row["proposal"])), row["depth"], row["gain"]) for row in rows] == [
        ("both", 0, 1.0),
        ("left", 1, 1.0),
        ("right", 1, 2.0),
        ("base", 2, None),
    ]
    assert line(board, "both").split() == ["both", "1.0000", "confirming", "+1.0000", "title", "both"]


def test_leaves_are_what_nobody_built_on_the_best_first() -> None:
    board = diamond()
    assert lineage.leaves(Ranking(board)) == [git_hash("both"), git_hash("lone")]
    assert line(board, "lone").split() == ["lone", "-", "open", "title", "lone"]


def test_parents_that_are_not_on_the_board_and_circles_end_the_drawing() -> None:
    log = Log()
    log.open()
    propose(log, "one", "two", "gone")
    propose(log, "two", "one")
    assert drawn(log.board, "one", "up") == ["one", "├─ two", "│  ↑ see one", "└─ gone"]
    assert line(log.board, "gone") == "gone (not on the board)"
    assert "gone" in with_names("\n".join(lineage.dot(log.board, related(log.board, "one", "up"))))


def chain(count: int, *, merges: bool) -> Board:
    log = Log()
    log.open()
    for at in range(count):
        propose(log, f"t{at}", *(f"t{at - back}" for back in ((1, 2) if merges else (1,)) if at >= back))
    return log.board


@pytest.mark.parametrize("merges", [False, True], ids=["a chain", "merges alone"])
def test_ten_thousand_generations_are_drawn_flat_in_seconds(*, merges: bool) -> None:
    board = chain(10_000, merges=merges)
    began = time.perf_counter()
    found = related(board, "t9999", "up")
    ranking = Ranking(board)
    lines = list(lineage.drawn(found, lambda tree: lineage.line(ranking, tree)))
    dot = list(lineage.dot(board, found))
    down = drawn(board, "t0", "down")
    took_s = time.perf_counter() - began
    links = sum(map(len, found.relatives.values()))
    assert len(lines) == len(down) == links + 1
    assert len(dot) == 10_000 + links + 3
    assert max(map(len, [*lines, *down])) < 150
    assert took_s < 20


def test_a_graph_for_graphviz_is_balanced_whatever_titles_hold() -> None:
    log = Log()
    log.open()
    evil = 'x"]; } evil [label="\\'
    propose(log, "base", title=evil)
    propose(log, "next", "base", title=f"y\\{HOSTILE}")
    text = with_names("\n".join(lineage.dot(log.board, related(log.board, "next", "up"))))
    string = r'"(?:[^"\\]|\\.)*"'
    bare = re.sub(string, '""', text)
    assert bare.splitlines() == [
        'digraph "" {',
        "  node [shape=box, fontname=monospace];",
        '  "" [label=""];',
        '  "" [label=""];',
        '  "" -> "";',
        "}",
    ]
    assert re.findall(string, text)[2] == f'"{"next"}  -\\ny\\\\{"".join(_harmless())}"'
    assert '"base" -> "next"' in text


def _harmless() -> str:
    from mesh.text import printable

    return printable(f"y\\{HOSTILE}", 60)[2:].replace("\\", "\\\\").replace('"', '\\"')


def named(board: Board, word: str) -> tuple[str, str]:
    found, _ = find(board, word)
    return found.kind, found.id


def begins(start: str) -> str:
    """The id of a proposal that begins like this."""
    return start.ljust(40, "0")


def members() -> Board:
    log = Log()
    log.open()
    for start in ("abc1", "abc2", "14ef", "dead", "9999"):
        propose(log, begins(start))
    log.request(begins("abc1"))
    log.add("ann", AgentJoined(boot="b1", role="explorer"))
    log.add("w", WorkerJoined(boot="b2", worker_class="cpu", device="cpu", slots=1))
    log.add("twin", AgentJoined(boot="b3", role="critic"))
    log.add("twin", WorkerJoined(boot="b4", worker_class="cpu", device="cpu", slots=1))
    for number in range(12):
        propose(log, begins(f"f{number:03}"))
    return log.board


def test_a_word_names_what_bears_it_or_begins_with_it() -> None:
    board, run = members(), run_of(begins("abc1"))
    assert named(board, begins("dead")) == ("proposal", begins("dead"))
    assert named(board, "de") == ("proposal", begins("dead"))
    assert named(board, commit_hash(begins("dead"))[:8]) == ("proposal", begins("dead"))
    assert named(board, "abc1") == ("proposal", begins("abc1"))
    assert named(board, run) == named(board, run[:18]) == ("run", run)
    assert named(board, "ann") == ("agent", "ann")
    assert named(board, "w") == ("worker", "w")
    assert named(board, "3") == named(board, "#3") == named(board, "fact:3") == ("fact", "3")
    assert named(board, "worker:twin") == ("worker", "twin")
    assert find(board, "14") == (Named("fact", "14"), [Named("proposal", begins("14ef"))])
    assert named(board, "proposal:14") == ("proposal", begins("14ef"))
    assert named(board, "proposal:99") == named(board, "9999") == ("proposal", begins("9999"))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("zzz", "'zzz' is not the name of anything in arena a, nor the start of one"),
        ("", "'' is not the name of anything in arena a, nor the start of one"),
        ("9999999999", "is not the name of anything"),
        ("0000", "is not the name of anything"),
        ("#", "is not the name of anything"),
        ("99", "'99' is not the name of anything in arena a"),
        ("run:dead", "is not the name of anything"),
        ("champion", "arena a has no champion yet; name a proposal"),
        ("x" * 9999, f"'{'x' * 60}' is not the name"),
        ("abc", "'abc' matches proposal abc1000000, proposal abc2000000; write more of it"),
        ("twin", "'twin' matches agent twin, worker twin; write more of it, or its kind"),
        ("f", "'f' matches proposal f000000000, .*, proposal f009000000 and 2 more; "),
    ],
)
def test_a_word_that_names_nothing_or_several_things_is_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(UnknownName, match=sentence) as caught:
        find(members(), word)
    assert "\n" not in str(caught.value)


def test_an_ambiguous_proposal_lists_at_most_ten() -> None:
    board = members()
    assert find_proposal(board, "dea") == begins("dead")
    with pytest.raises(
        UnknownName,
        match=r"12 proposals of arena a start with 'f': proposal f000000000, .* and 2 more; write more of it$",
    ):
        find_proposal(board, "f")


def test_what_a_commit_made_ambiguous_is_listed_with_the_commit() -> None:
    board = told()
    for tree in (BASE, NEW):
        event = board.proposals[tree].event
        board.proposals[tree].event = replace(event, commit=f"beef{tree[:36]}")
    first, second = (rf"proposal {tree[:10]} \(commit beef{tree[:6]}\)" for tree in sorted((BASE, NEW)))
    sentence = rf"{first}, {second}; write more of it$"
    with pytest.raises(UnknownName, match=sentence):
        find_proposal(board, "beef")


def text_of(board: Board, word: str) -> str:
    return with_names("\n".join(card.card(board, describe.about(board, find(board, word)[0]))))


CURVE = tuple(CurvePoint(n, 9.0 - n, float(n)) for n in range(9))


def told() -> Board:
    """A champion that beat the artifact as it was, and what was said and paid for it."""
    log = Log(NOISY)
    log.open()
    log.add("ann", AgentJoined(boot="b1", role="researcher", model="openai/x", host="box"))
    log.add("w", WorkerJoined(boot="b2", worker_class="cpu", device="a cpu", slots=2, tier="A"))
    propose(log, "base", author="op")
    log.add(
        "ann",
        ProposalPosted(
            tree=NEW,
            commit=commit_hash(NEW),
            parents=(BASE,),
            title=f"half {HOSTILE}",
            rationale="because",
            origin=Origin(how="model", name="openai/x"),
            predicted_gain=0.5,
            confidence=0.75,
            knobs=(KnobChange(file="train.py", name="LR", old=0.0003, new=0.001),),
            cost=Cost(usd=0.25, tokens_in=100, tokens_out=20),
        ),
    )
    log.score("base", 4.0, 4.1, 3.9)
    log.add("op", ProposalPromoted(proposal=BASE, round=1, mean=4.0, seeds=(1, 2, 3)))
    log.add("critic", CritiquePosted(target=NEW, verdict="warn", rule="noise", text="small", confidence=0.5))
    for seed, value in ((1, 3.0), (2, 3.1), (3, 2.9)):
        log.finish(log.request("new", seed=seed, lane="confirm"), value)
    log.add(
        "op",
        ProposalPromoted(proposal=NEW, round=2, met=BASE, mean=3.0, low=2.9, high=3.1, seeds=(1, 2, 3), p_better=0.999),
    )
    run = requested(NEW, seed=9, spec=NOISY)
    log.add("op", run)
    log.add("w", RunStarted(run=run.run, attempt=1, worker="b2"))
    log.add(
        "w",
        RunFinished(
            run=run.run,
            proposal=NEW,
            outcome=Failed(reason="crash", message=f"boom {HOSTILE}"),
            worker="b2",
            worker_class="cpu",
            curve=CURVE,
            trial_s=1.5,
            budget_used_s=1.25,
            budget_counts="cpu",
            peak_memory_mb=2048.0,
            log_tail=f"first\n{HOSTILE}\nlast",
        ),
    )
    return log.board


def test_a_proposal_shows_what_its_verdict_rests_on() -> None:
    text = text_of(told(), "champion")
    for part in (
        "by ann (model openai/x) at 2025-01-01",
        "why: because",
        "state: champion, rank 1, loss 3.0000 (95 %: 2.8397 … 3.1603)",
        "confirmed on 3 fresh seeds",
        "promoted in round 2 against base: mean 3.0000, 95 %: 2.9000 … 3.1000, chance to be better >99 %, 3 seeds",
        "predicted gain +0.5000 (75% sure), measured gain over its first parent +1.0000",
        "knobs: LR 0.0003 → 0.001",
        "cost: 4 runs, 1.5 s of worker time, 120 tokens, $0.2500",
        "critic warns, 50% sure [noise]: small",
    ):
        assert part in text
    assert re.search(r"new-confirm-2 +confirm +2 +3.1000", text)
    assert re.search(r"new-explore-9 +explore +9 +crash +1.5 +1.2 +2048 w$", text, re.MULTILINE)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", text)
    base = text_of(told(), BASE)
    assert re.search(r"children:\n  new +\+1.0000  half", base)
    assert "state: past_champion, rank 2, loss 4.0000" in base


def test_a_run_shows_how_it_ended_its_curve_and_its_last_words() -> None:
    run = (board := told()).runs[name := run_of(NEW, seed=9)]
    assert run.finished
    put_texts_back(board.proposals[NEW], board.runs, {run.finished_seq: replace(run.finished, curve=CURVE)})
    text = text_of(board, f"run:{name}")
    assert "attempts: w\n" in text
    assert "failed (crash): boom" in text
    assert "curve █▇▆▅▅▄▃▂▁ 9 → 1, 8.0 s" in text
    assert "memory 2,048 MB" in text
    assert text.endswith("  | last")
    assert "\x1b" not in text


def test_an_agent_shows_what_it_did_and_earned_and_a_worker_what_it_ran() -> None:
    board = told()
    text = text_of(board, "ann")
    assert text.startswith(
        "agent ann: researcher, model openai/x on box, present, started once\n1 proposal (1 champion)"
    )
    assert "earned +1.0000 loss over the champions that it replaced" in text
    assert "models: 120 tokens, $0.2500" in text
    worker = text_of(board, "worker:w")
    assert "cpu (a cpu, 0 MB), 2 slots, sandbox A, present, started once\n1 run finished (1 crash), 1.5 s" in worker


def test_curves_are_drawn_as_bars() -> None:
    assert card.sparkline([]) == ""
    assert card.sparkline([1.0]) == "▁"
    assert card.sparkline([2.0, 2.0]) == "▁▁"
    assert card.sparkline([0.0, 7.0]) == "▁█"
    assert card.sparkline([float(n) for n in range(1000)]) == card.sparkline([float(n) for n in range(60)])


def test_a_difference_is_beyond_the_noise_or_not_or_not_proven() -> None:
    log = Log(NOISY)
    log.open()
    for tree in ("base", "good", "same", "claim", "none"):
        propose(log, tree)
    scores = {"base": (4.0, 4.1, 3.9), "good": (3.0, 3.1, 2.9), "same": (4.01, 4.09, 3.92)}
    for tree, values in scores.items():
        for seed, value in enumerate(values):
            log.finish(log.request(tree, seed=seed, lane="confirm"), value)
    log.score("claim", 1.0)
    found = {tree: diff.metric_of(log.board, BASE, git_hash(tree)) for tree in ("good", "same", "claim", "none")}
    assert {tree: metric.beyond_noise for tree, metric in found.items()} == {
        "good": True,
        "same": False,
        "claim": None,
        "none": None,
    }
    good = found["good"]
    assert good.gain == pytest.approx(1.0)
    assert good.new_interval is not None
    assert good.new_interval[0] < 3.0 < good.new_interval[1]
    assert "only candidate scores" in found["claim"].text
    assert with_names(found["none"].text) == "none has no score"


def test_an_exact_metric_needs_no_proof() -> None:
    found = diff.metric_of(diamond(), git_hash("left"), git_hash("right"))
    assert (found.gain, found.beyond_noise, found.p_better) == (1.0, True, 1.0)
    assert diff.metric_of(diamond(), git_hash("left"), git_hash("left")).beyond_noise is False
