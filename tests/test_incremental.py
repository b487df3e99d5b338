"""What is kept up fact by fact is what a plain calculation from the whole board gives, after every fact."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import astuple, replace

from agents.critique.claim_sums import ClaimSums, spread_of
from agents.critique.earlier import Earlier, Learned, Same
from agents.critique.fingerprint import Fingerprint, fingerprint
from agents.critique.shrinkage import judge_score
from agents.curation.admission import decide
from agents.curation.race_log import current_race, entrants_of, members_of
from agents.curation.run_requests import race_of
from agents.curation.stopping import searched_since
from agents.search.history import History, feasible_first
from agents.search.nearness import Nearness
from agents.search.samplers.protocol import Trial, Values, best_first, where
from agents.search.strategy import TRIES
from agents.search.turns import Turns
from mesh.baseline import is_measured
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.changes import ChangeReader
from mesh.editable_paths import editable_paths
from mesh.errors import ObjectMissing
from mesh.events import AnyEvent, RunRequested
from mesh.evidence import Noise, _fresh_runs, claim, fresh, noise, pooled, shows_no_noise
from mesh.evidence import _noise_of as calculated_noise
from mesh.evidence import _shows_no_noise as calculated_exactness
from mesh.fresh_scores import FreshScores
from mesh.knob import Knob
from mesh.knobs import NEAR, are_near, knobs_of
from mesh.outcomes import badness
from mesh.paired import seed_effect
from tests.support.history import CPU, GPU
from tests.support.unruly import Unruly
from tests.test_leaderboard_contract import History as Random
from tests.test_leaderboard_contract import logged

SEEDS = range(120)
UNRULY = SEEDS[60:]
"""Histories with many versions, critics that rule out late, withdrawn runs and repeated facts."""


def history_of(seed: int) -> list[tuple[str, AnyEvent]]:
    """Return a random history."""
    return (Unruly(seed) if seed in UNRULY else Random(seed)).told


def test_the_unruly_histories_have_what_changes_what_counted_before() -> None:
    met: Counter[str] = Counter()
    for seed in UNRULY:
        board = Board(arena="a")
        was_out, scored, proven = set[str](), set[str](), set[str]()
        for entry in logged("a", history_of(seed)):
            counts, late = board.fold(entry), len(board.ruled_out_late)
            out = {tree for tree, known in board.proposals.items() if known.ruled_out}
            kind = type(entry.post.event).__name__ if entry.post else ""
            for tree in out - was_out:
                met[f"ruled out by a {'critic' if late and kind == 'CritiquePosted' else 'version'}"] += 1
                met["ruled out after a score"] += tree in scored
                met["ruled out after fresh scores"] += tree in proven
            met["back"] += len(was_out - out)
            met["back with a score"] += sum(bool(board.scores(tree)) for tree in was_out - out)
            met[f"late {kind}"] += not counts
            met["withdrawn"] += kind == "RunKilled" and counts
            met["champion again"] += kind == "ProposalPromoted" and counts and board.champion in board.champions[:-1]
            was_out, scored = out, {tree for tree in board.proposals if board.scores(tree)}
            proven = {tree for tree in scored if fresh(board, tree)}
    wanted = (
        "ruled out by a critic",
        "ruled out by a version",
        "ruled out after a score",
        "ruled out after fresh scores",
        "back",
        "back with a score",
        "late ProposalPosted",
        "late RunFinished",
        "late RunRequested",
        "withdrawn",
        "champion again",
    )
    assert [name for name in wanted if met[name] < len(UNRULY) // 4] == []


async def files(board: Board, tree: str) -> Mapping[str, bytes]:
    number = int(tree, 16)
    knobs = f"A = {1 + number % 4}.0  # mesh: 0.1..100 log\nB = {number}  # mesh: 0..20\n"
    return {"train.py": knobs.encode() if number % 7 else b"print('no knobs')\n"}


async def plain(board: Board) -> tuple[list[Trial], list[Trial], list[Trial]]:
    """Return finished, pending and barred trials, each from all of its runs."""
    trials, pending, barred = list[Trial](), list[Trial](), list[Trial]()
    base = await files(board, board.opened.base_tree if board.opened else "0")
    for tree, proposal in board.proposals.items():
        code = await files(board, tree)
        if proposal.ruled_out:
            continue
        knobs = knobs_of(code, editable_paths(board.spec, code), board.spec.knobs, base=base)
        runs = board.current_runs(tree)
        ended = [run for run in runs if run.finished]
        scores = [run.value for run in ended if run.value is not None]
        worst = board.missed(tree)
        trial = Trial(
            tree=tree,
            seq=proposal.seq,
            values={where(knob): knob.value for knob in knobs},
            loss=-board.spec.objective.gain(sum(scores) / len(scores)) if scores else None,
            by=proposal.event.origin.name if proposal.event.origin.how == "sampler" else "",
            violation=worst.violation if worst else 0.0,
            stages_missed=badness(worst)[0] if worst else 0,
            seconds=sum(run.finished.trial_s for run in ended if run.finished and run.requested.lane == "explore"),
        )
        if scores or (runs and len(ended) == len(runs)):
            trials.append(trial)
        elif proposal.verdict == "open":
            pending.append(trial)
        elif proposal.why != "failed":
            barred.append(trial)
    return feasible_first(trials), pending, barred


def plain_near(knobs: Sequence[Knob], values: Values, others: Sequence[Values], share: float = NEAR) -> list[int]:
    """Return the positions of those that are near, by comparing each."""
    return [position for position, other in enumerate(others) if are_near(knobs, values, other, share)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_history_that_is_kept_up_is_the_one_that_is_read_at_once(seed: int) -> None:
    dice = random.Random(seed)
    history, board, turns = History(files), Board(arena="a"), Turns()
    for entry in logged("a", history_of(seed)):
        board.fold(entry)
        if dice.random() < 0.3:
            continue  # explorers hear the latest fact only
        known = await history.read(board)
        trials, pending, barred = await plain(board)
        assert (known.trials, known.pending) == (trials, pending)
        assert sorted(known.barred, key=lambda trial: trial.seq) == barred
        every = [*trials, *pending, *barred]
        assert known.best == [trial.tree for trial in best_first(trials) if trial.values][:TRIES]
        assert +Counter(known.counts) == Counter(trial.by for trial in every)
        assert {tree for tree in board.proposals if known.has_values(tree)} >= {t.tree for t in every if t.values}
        for author in ("ann", "bob"):
            waiting = sum(board.proposals[trial.tree].author == author for trial in pending)
            assert turns.waiting(author, board) == waiting
            assert history.authored(author) == sum(p.author == author for p in board.proposals.values())
        some = await files(board, f"{dice.randrange(12):040x}")
        knobs = knobs_of(some, ["train.py"], board.spec.knobs)
        values = {where(knob): knob.value for knob in knobs}
        assert history.is_near(knobs, values) == bool(plain_near(knobs, values, [trial.values for trial in every]))


@pytest.mark.parametrize("seed", SEEDS)
def test_all_changes_of_a_board_are_named_once(seed: int) -> None:
    reader, board, dice = ChangeReader(), Board(arena="a"), random.Random(seed)
    proposals, requested, ended = list[str](), list[str](), list[str]()
    for entry in logged("a", history_of(seed)):
        board.fold(entry)
        if dice.random() < 0.5:
            changes = reader.look(board)
            if changes.is_new:
                proposals, requested, ended = [], [], []
            proposals, requested = [*proposals, *changes.proposals], [*requested, *changes.requested]
            ended += changes.ended
            assert (proposals, requested) == (list(board.proposals), list(board.runs))
            assert sorted(ended) == sorted(name for name, run in board.runs.items() if run.finished)


KNOBS = [
    Knob(file="a", name="log", value=0.1, low=1e-4, high=1.0, log=True),
    Knob(file="a", name="even", value=5, low=0, high=9),
    Knob(file="a", name="chance", value=0.5, low=0.001, high=0.999, step="logit"),
    Knob(file="a", name="word", value="x", choices=("x", "y")),
    Knob(file="a", name="flag", value=True, choices=(True, False)),
]


def drawn(dice: random.Random, others: list[Values]) -> Values:
    """Return values at random, or near others, at the ends of ranges and beyond; some are missing."""
    found: dict[tuple[str, str], Any] = {}
    start = dice.choice(others) if others and dice.random() < 0.6 else {}
    for knob in KNOBS:
        old = start.get(where(knob))
        if dice.random() < 0.05:
            continue
        if knob.choices:
            found[where(knob)] = dice.choice(knob.choices) if old is None or dice.random() < 0.2 else old
        elif isinstance(old, int | float) and dice.random() < 0.9:
            moved = knob.at(knob.place(old) + dice.choice((0.0, 0.009, 0.0099999, 0.01, 0.012, -0.0095, 0.1)))
            found[where(knob)] = dice.choice((old, moved))
        else:
            beyond = [knob.low, knob.high, knob.low / 2, knob.high * 2] if knob.step != "logit" else [0.001, 0.999]
            found[where(knob)] = dice.choice([*beyond, knob.at(dice.random()), "text"])
    return found


def tail_of(seed: int) -> int:
    """Return how many values are not in order: none, a few or all."""
    return (0, 5, 1024)[seed % 3]


@pytest.mark.parametrize("seed", range(20))
def test_an_index_finds_all_that_is_near_and_nothing_else(seed: int) -> None:
    dice, index, others = random.Random(seed), Nearness(tail=tail_of(seed)), list[Values]()
    met = 0
    for _ in range(150):
        values, share = drawn(dice, others), dice.choice((NEAR, 0.1, 0.5))
        knobs = dice.sample(KNOBS, dice.randint(0, len(KNOBS)))
        found = list(index.near(knobs, values, share))
        assert found == plain_near(knobs, values, others, share)
        met += bool(found)
        others.append(values)
        assert index.add(values) == len(index) - 1
    assert met > 20


def printed(dice: random.Random) -> Fingerprint:
    knobs = tuple(replace(knob, value=knob.at(dice.choice((0.2, 0.205, 0.5)))) for knob in KNOBS[:3])
    code = dice.choice("abc")
    return Fingerprint(
        meaning=f"{code}{dice.randrange(12)}",
        seedless=f"{code}{dice.randrange(6)}",
        knobless=code,
        knobs=knobs[: dice.choice((2, 3))],
    )


@pytest.mark.parametrize("seed", range(30))
def test_a_critic_finds_the_first_that_is_the_same_and_all_that_are_near(seed: int) -> None:
    dice, earlier, known = random.Random(seed), Earlier(), dict[str, Fingerprint]()
    for number in range(60):
        own = printed(dice)
        left_out = {tree for tree in known if dice.random() < 0.3}
        counted = {tree: each for tree, each in known.items() if tree not in left_out}
        same = None
        for tree, each in counted.items():
            if own.meaning == each.meaning or own.seedless == each.seedless:
                same = Same(tree, own.meaning != each.meaning)
                break
        assert earlier.same(own, counted.__contains__) == same
        for share in (NEAR, 0.1, 0.4):
            near = [tree for tree, each in counted.items() if own.is_near(each, share)]
            assert list(earlier.near(own, counted.__contains__, share)) == near
        known[str(number)] = own
        earlier.add(str(number), own)


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_critic_compares_with_all_earlier_proposals_that_count_now(seed: int) -> None:
    dice, board = random.Random(seed), Board(arena="a")

    async def some_files(board: Board, tree: str) -> Mapping[str, bytes]:
        if int(tree, 16) % 7 == 5:
            raise ObjectMissing("nobody has shared it")
        return await files(board, tree)

    learned = Learned(some_files)
    for entry in logged("a", history_of(seed)):
        board.fold(entry)
        if not board.proposals or dice.random() < 0.5:
            continue
        judged = dice.choice([*board.proposals.values()])
        earlier, counts = await learned.before(board, judged)
        expected = list[tuple[str, Fingerprint]]()
        for tree, known in board.proposals.items():
            if known.seq < judged.seq and known.why != "blocked" and not known.ruled_out:
                with suppress(ObjectMissing):
                    code = await some_files(board, tree)
                    expected.append((tree, fingerprint(code, editable_paths(board.spec, code))))
        assert [each for each in earlier if counts(each[0])] == expected


@pytest.mark.parametrize("seed", SEEDS)
def test_decisions_on_a_board_that_is_kept_up_are_those_on_a_copy_that_nobody_has_looked_at(seed: int) -> None:
    facts = with_races(history_of(seed), random.Random(seed))
    decided: list[list[Any]] = []
    for is_copied in (False, True):
        board, sums = Board(arena="a"), ClaimSums()
        decided.append([])
        for entry in logged("a", facts):
            board.fold(entry)
            known = from_bytes(to_bytes(board)) if is_copied else board
            assert known
            scores = [judge_score(known, name, None if is_copied else sums) for name in known.runs]
            decided[-1].append((scores, decide(known, known.time)))
    for kept_up, copied in zip(*decided, strict=True):
        assert kept_up == copied


def with_races(entry_facts: Sequence[tuple[str, Any]], dice: random.Random) -> list[tuple[str, Any]]:
    """Return the facts with runs in races, some of them of strangers with a number that no race can have."""
    races = [0, 0, 1, 1, 2, 3, 5, 10**6]
    return [
        (author, replace(fact, race=dice.choice(races)) if isinstance(fact, RunRequested) else fact)
        for author, fact in entry_facts
    ]


def plain_noise(board: Board, worker_class: str, without: str) -> Noise:
    """Return the noise from all fresh runs of the board: those since the last promotion, or all if they are too few."""

    def since(seq: int) -> Noise:
        groups, columns = dict[tuple[str, str], list[float]](), dict[str, dict[int, float]]()
        for run in _fresh_runs(board):
            tree = run.requested.proposal
            if tree == without or run.value is None or not run.finished or (run.seq < seq and tree != board.champion):
                continue
            groups.setdefault((tree, run.finished.worker_class), []).append(run.value)
            if run.finished.worker_class == worker_class:
                columns.setdefault(tree, {})[run.requested.seed] = run.value
        own = pooled(values for (_, name), values in groups.items() if name == worker_class)
        found = own if own.dof else pooled(groups.values())
        return Noise(found.sd, found.dof, seed_effect(columns.values()))

    recent, whole = since(board.promoted_seq), since(0)
    if recent.dof >= 10 and recent.seeds and recent.seeds.dof >= 10:
        return recent
    return Noise(recent.sd, recent.dof, whole.seeds) if recent.dof >= 10 else whole


@pytest.mark.parametrize("seed", SEEDS)
def test_evidence_that_is_remembered_is_what_a_calculation_gives_after_every_fact(seed: int) -> None:
    dice, board, sums = random.Random(seed), Board(arena="a"), ClaimSums()
    for entry in logged("a", with_races(history_of(seed), dice)):
        board.fold(entry)
        for tree, proposal in board.proposals.items():
            runs = [board.runs[name] for name in proposal.runs]
            evaluator = board.opened.evaluator if board.opened else ""
            runs = [] if proposal.ruled_out else runs
            wanted = [run for run in runs if run.evaluator in ("", evaluator) and not board.ended_in_vain(run)]
            assert board.current_runs(tree) == wanted
        base = board.opened.base_tree if board.opened else ""
        has_number = base in board.proposals and any(run.has_number for run in board.current_runs(base))
        assert is_measured(board) == has_number
        if dice.random() < 0.5:
            continue
        for worker_class in (CPU, GPU, "cpu", ""):
            left_out = dice.choice(["", *board.proposals])
            found = noise(board, worker_class, without=left_out)
            assert found == calculated_noise(board, worker_class, left_out, FreshScores())
            plain_one = plain_noise(board, worker_class, left_out)
            assert found.dof == plain_one.dof
            assert found.sd == pytest.approx(plain_one.sd, rel=1e-9, abs=1e-15)
            assert bool(found.seeds) == bool(plain_one.seeds)
            if found.seeds and plain_one.seeds:
                assert astuple(found.seeds) == pytest.approx(astuple(plain_one.seeds), rel=1e-5, abs=1e-6)
            exact = shows_no_noise(board, worker_class, found)
            assert exact == calculated_exactness(board, worker_class, found)
            claims = [c[0] for tree in board.proposals if (c := claim(board, tree)) and c[1] == worker_class]
            assert sums.of(board, worker_class) == spread_of(claims)
        later = [run for run in board.runs.values() if run.seq >= board.promoted_seq and board.champion]
        searched = [run for run in later if run.requested.lane == "explore" and run.value is not None]
        assert searched_since(board) == len(searched)
        asked = [board.runs[name].requested for name in board.proofs]
        race = max((race_of(each) for each in asked if race_of(each) <= len(asked)), default=0)
        assert current_race(board) == race
        for number in {race_of(each) for each in asked}:
            inside = [each for each in asked if each.lane == "confirm" and race_of(each) == number]
            assert entrants_of(board, number) == {each.proposal for each in inside}
            counts = Counter(
                each.proposal for each in inside if each.proposal != board.champion and each.proposal in board.proposals
            )
            assert set(members_of(board, number)) <= {t for t in counts if counts[t] == max(counts.values())}
