"""Of random histories with budgets, and with liars, the board, the views and the commands say the same dollars."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from analytics.projection import Projection
from mesh import events as e
from mesh.board import Board
from mesh.stated_costs import BY_RESERVE, OTHERS_SHARE
from mesh.testing import commit_hash, git_hash
from mesh.worker_costs import KeptBooks
from mesh_cli.live.status import figures, status_lines
from mesh_cli.projected.asking import from_projector
from mesh_cli.projected.state import projected_state
from tests.support.history import SPEC, T1, finish, opened, proposal, request
from tests.test_economics import Timed, log_of
from tests.test_projected_commands import alike, asks, told

__all__ = ["asks"]

pytestmark = pytest.mark.timeout(600)

JUDGED = replace(SPEC, judge=replace(SPEC.judge, models=("m",), usd_per_run=0.5, usd=4.0))
NAMES = ("researcher", "ann", "bob", "eve")
USD = (0.01, 0.3, 0.5, 1e9)


def with_money(seed: int, count: int = 400) -> Iterator[tuple[str, e.AnyEvent]]:
    """Yield a history of workers with and without prices, and of agents of which some say false costs."""
    rng = random.Random(f"money {seed}")
    rules = (BY_RESERVE, BY_RESERVE, 1, 0)[seed % 4]
    yield "op", replace(opened(), spec=JUDGED, rules=rules)
    if seed % 2 == 0:
        yield "op", e.BudgetGranted(n=1, usd=30.0)
    yield "op", proposal(T1, how="baseline")
    lives, waiting, held = dict[str, str](), list[str](), dict[str, str]()
    agents = dict[str, str]()
    for number in range(count):
        what, name = rng.random(), rng.choice(NAMES)
        cost = e.Cost(usd=rng.choice((None, *USD)), tokens_in=rng.randrange(9))
        if what < 0.04:
            boot, worker = f"b{number}", f"w{rng.randrange(3)}"
            lives[boot] = worker
            price = rng.choice((None, 0.0, 3.6, 36.0))
            yield worker, e.WorkerJoined(boot=boot, worker_class="cpu", device="cpu", slots=2, price_per_hour_usd=price)
        elif what < 0.06 and lives:
            boot = rng.choice(sorted(lives))
            yield lives.pop(boot), e.WorkerLeft(boot=boot)
        elif what < 0.12:
            agents[name] = f"a{number}"
            reserves = rng.choice((None, 0.3, 0.5, 1e9))
            yield name, e.AgentJoined(boot=agents[name], role="researcher", model="m", reserves_usd=reserves)
        elif what < 0.15 and name in agents:
            yield name, e.AgentLeft(boot=agents.pop(name), owes_usd=rng.choice((0.0, 0.2, 1e9)))
        elif what < 0.17:
            yield "op", e.BudgetGranted(n=number + 2, usd=rng.choice((None, 5.0)))
        elif what < 0.35:
            yield name, e.ModelAsked(purpose="propose", model="m", ok=False, cost=cost)
        elif what < 0.42:
            tree, origin = git_hash(f"t{rng.randrange(60)}"), e.Origin(how="model", name="m")
            yield name, e.ProposalPosted(tree=tree, commit=commit_hash(tree), title="t", origin=origin, cost=cost)
        elif what < 0.55:
            target = rng.choice((git_hash(f"t{rng.randrange(60)}"), T1, *waiting))
            yield name, e.CritiquePosted(target=target, verdict="warn", rule="sound", cost=rng.choice((None, cost)))
        elif what < 0.7:
            waiting.append(f"r{number}")
            instead = rng.choice(sorted(held)) if held and rng.random() < 0.1 else ""
            yield "cur", replace(request(waiting[-1], T1, number), instead_of=instead)
        elif what < 0.85 and waiting and lives:
            run, boot = waiting.pop(0), rng.choice(sorted(lives))
            held[run] = boot
            yield lives[boot], e.RunStarted(run=run, attempt=1, worker=boot)
        elif held:
            run = rng.choice(sorted(held))
            boot = held.pop(run)
            use = e.JudgeUse(calls=1, usd=rng.choice(USD)) if rng.random() < 0.7 else None
            yield lives.get(boot, "w0"), replace(finish(run, T1, rng.random()), worker=boot, judge=use, cost=None)


def timed(seed: int) -> list[Timed]:
    rng, now, found = random.Random(seed), 0.0, list[Timed]()
    for author, event in with_money(seed):
        now += rng.choice((0.0, 1.0, 7.5, 40.0))
        found.append((now, author, event))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_board_and_views_count_the_same_dollars_to_the_bit(seed: int, tmp_path: Path) -> None:
    log = log_of(timed(seed))
    board = Board(arena="a")
    rng, begin = random.Random(seed), 0
    while begin < len(log):
        end = min(len(log), begin + rng.randrange(1, 90))
        projection = Projection.open(tmp_path / "a.duckdb")  # anew: what is kept of the books is in the file
        try:
            projection.checkpoint("a", "one", len(log))
            middle = rng.randrange(begin, end + 1)
            for some in (log[begin:middle], log[middle:end]):
                if some:
                    projection.append("a", "one", some)
            for entry in log[begin:end]:
                board.fold(entry)
            [[books]] = projection.cursor().execute("SELECT books FROM internal.checkpoints").fetchall()
            kept = msgspec.json.decode(books, type=KeptBooks)
            assert (kept.spent, kept.judge) == (board.spent, board.judge), begin
            assert kept.worker_costs == board.worker_costs, begin
            models = "what IN ('proposal', 'critique', 'failed call')"
            sql = f"SELECT sum(usd) FILTER (what = 'judge'), sum(uncounted_usd), sum(usd) FILTER ({models}) FROM cost"
            [[judge, uncounted, asked]] = projection.cursor().execute(sql).fetchall()
            assert (judge or 0.0) == pytest.approx(board.judge.usd)
            assert (uncounted or 0.0) == pytest.approx(board.worker_costs.stated.uncounted_usd)
            assert (asked or 0.0) == pytest.approx(sum(board.spent.values()))
        finally:
            projection.close()
        begin = end
    assert bool(board.worker_costs.stated.uncounted) is (seed % 4 < 2)
    stated = board.worker_costs.stated
    assert sum(stated.counted.values()) <= OTHERS_SHARE * (stated.granted_usd or 0.0)


async def test_status_says_the_same_of_a_budget_with_and_without_a_projector(
    tmp_path: Path, home: Path, asks: Callable[[bool], None]
) -> None:
    shown = set[str]()
    async with told(range(4), tmp_path / "a.duckdb", with_money) as buses:
        for bus in buses:
            asks(True)

            async def ask(projector: object) -> object:
                return await projected_state(projector, 300.0)  # type: ignore[arg-type]

            assert await from_projector(bus, ask), bus.arena
            asked = await figures(bus)
            asks(False)
            folded = await figures(bus)
            ages = {name for name in asked if name.endswith("_age_s") or name == "oldest_waiting_s"}
            assert [name for name in asked if name not in ages and not alike(asked[name], folded[name])] == [], (
                bus.arena
            )
            lines = [status_lines(row | dict.fromkeys(ages), None) for row in (asked, folded)]
            assert lines[0] == lines[1], bus.arena
            shown |= {line for line in lines[0] if line.startswith("budget")}
    assert len(shown) == 4
    assert any("claimed beyond reserves, and not counted" in line for line in shown)
