"""Random histories of two proposals with many runs, and their boards after each fact, some read from bytes."""

import random
from collections.abc import Iterator

from msgspec.structs import replace

from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.events import AnyEvent, Failed, Infeasible, Lane, RunKilled, StageEnd
from mesh.testing import content_hash, git_hash
from tests.support.history import T2, entries, finish, opened, promote, proposal, request

LANES: tuple[Lane, ...] = ("explore", "confirm", "control", "control", "audit")
CLASSES = ("cpu", "gpu")


def boards(dice: random.Random) -> Iterator[Board]:
    """Yield the board of a random history after each fact; now and then it is one that was read from bytes."""
    board = Board(arena="a")
    for entry in entries(drawn(dice)):
        board.fold(entry)
        if dice.random() < 0.02:
            copied = from_bytes(to_bytes(board))
            assert copied
            board = copied
        yield board


def drawn(dice: random.Random) -> list[tuple[str, AnyEvent]]:
    """Return a history of two proposals, one of them the baseline, whose many runs end in any order."""
    base = git_hash("base")
    first = replace(opened(), base_tree=base)
    facts: list[tuple[str, AnyEvent]] = [("operator", first), ("ann", proposal(base)), ("ann", proposal(T2))]
    facts.append(("curator", promote(base, "", 1)))
    waiting = dict[str, str]()
    for number in range(140):
        draw = dice.random()
        if draw < 0.5:
            run, tree = f"r{number}", dice.choice((base, base, T2))
            waiting[run] = tree
            race = dice.choice((0, 1, 2))
            asked = request(run, tree, dice.choice((number, 1000 * race + number % 4, 1000 * race + 500 + number)))
            facts.append(("curator", replace(asked, lane=dice.choice(LANES), race=race)))
        elif draw < 0.94 and waiting:
            run = dice.choice(list(waiting))
            value = dice.choice((0.1, 0.7, dice.random()))
            outcome = Failed(reason="crash", message="") if dice.random() < 0.2 else value
            ended = finish(run, waiting.pop(run), outcome)
            evaluator = dice.choice(("", "", content_hash("ev"), content_hash("other")))
            ended = replace(ended, evaluator=evaluator, worker_class=dice.choice(CLASSES), trial_s=dice.random())
            stages = (StageEnd(stage="s", value=dice.random()),)
            ended = replace(ended, own_seeds=int(dice.random() < 0.05), stages=stages)
            if dice.random() < 0.1:
                ended = replace(ended, outcome=Infeasible(violation=1.0, message="too large", value=value))
            facts.append(("w", ended))
        elif draw < 0.97 and waiting:
            facts.append(("curator", RunKilled(run=dice.choice(list(waiting)), by="rule")))
        elif draw > 0.985:
            version = sum(isinstance(fact, type(first)) for _, fact in facts) + 1
            facts.append(("operator", replace(first, version=version, evaluator=content_hash(dice.choice("ab")))))
    return facts
