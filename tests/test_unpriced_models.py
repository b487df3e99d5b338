"""Where dollars are granted, an agent whose model has no known price works only at a price that somebody says."""

from pathlib import Path

import pytest

from agents.llm.budget import Budget
from agents.llm.client import Model, Price, price_of
from agents.llm.readiness import check_ready
from agents.researcher import Researcher
from mesh.errors import BadInput, Leaving
from mesh.events import BudgetGranted, NotePosted
from mesh.testing import Arena
from tests.support.scripted_agent import measured_arena

OF_NOBODY = {"model": "openai/of-nobody", "api_base": "http://127.0.0.1:1"}
QUESTION = [{"role": "user", "content": "x" * 400}]
SENTENCE = (
    "ann cannot be held to the budget of arena a, $3.00, because the price of openai/of-nobody is unknown: give "
    "--option price_per_mtok=IN,OUT, the dollars for a million tokens (0,0 if it costs nothing)"
)


@pytest.fixture
def arena(tmp_path: Path) -> Arena:
    return measured_arena(tmp_path / "given")


def budget(**options: str) -> Budget:
    return Budget("ann", OF_NOBODY | options, answer_tokens=1000)


async def test_a_researcher_without_a_price_leaves_where_somebody_has_granted_dollars(arena: Arena) -> None:
    researcher = Researcher(arena.context("ann", OF_NOBODY))
    arena.add("operator", BudgetGranted(n=1, usd=3.0))
    with pytest.raises(Leaving) as leaving:
        await researcher.joined(arena.board)
    assert str(leaving.value) == SENTENCE


async def test_one_that_works_when_dollars_are_granted_stops_asking(arena: Arena) -> None:
    researcher = Researcher(arena.context("ann", OF_NOBODY))
    assert budget().exceeds(arena.board, QUESTION) == ""
    arena.opening = arena.add("operator", BudgetGranted(n=1, usd=3.0))
    assert budget().exceeds(arena.board, QUESTION) == f"{SENTENCE}; it stops asking"
    [note] = await researcher.handle(arena.opening, arena.board)
    assert note == NotePosted(channel="ops", text=f"{SENTENCE}; it stops asking")
    assert await researcher.handle(arena.opening, arena.board) == []


def test_a_price_that_somebody_says_is_reserved_counted_and_kept_to(arena: Arena) -> None:
    arena.add("operator", BudgetGranted(n=1, usd=3.0))
    own = budget(price_per_mtok="3,15")
    assert price_of(own.model) == Price(3e-6, 15e-6)
    assert own.reserve_usd(2000, 2) == pytest.approx(2 * (0.006 + 0.015))
    assert own.most(QUESTION).usd == pytest.approx(3e-6 * (own.most(QUESTION).tokens_in or 0) + 0.015)
    assert own.exceeds(arena.board, QUESTION) == ""
    assert "one more call may cost $" in budget(price_per_mtok="3,15000").exceeds(arena.board, QUESTION)
    assert budget(price_per_mtok="3,15", budget_usd="5").model.price == Price(3e-6, 15e-6)


async def test_a_model_that_costs_nothing_is_said_to_and_needs_no_budget_of_its_own(arena: Arena) -> None:
    arena.add("operator", BudgetGranted(n=1, usd=3.0))
    free = budget(price_per_mtok="0,0")
    assert (free.exceeds(arena.board, QUESTION), free.most(QUESTION).usd) == ("", 0.0)
    with pytest.raises(BadInput, match=r"http://127\.0\.0\.1:1\)"):
        await check_ready(free.model, has_budget=False)
    with pytest.raises(BadInput, match=r"costs \$1 and \$2 for a million tokens in and out; give --budget-usd"):
        await check_ready(Model(OF_NOBODY["model"], OF_NOBODY["api_base"], price=Price(1e-6, 2e-6)), has_budget=False)


@pytest.mark.parametrize("text", ["3", "3,x", "-1,2", "nan,1", "1,inf", "1,2,3"])
def test_a_price_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as refused:
        budget(price_per_mtok=text)
    assert str(refused.value) == (
        f"option price_per_mtok={text} is not valid; use the dollars for a million tokens in and out, such as 0.15,0.6 "
        "(0,0 for a model that costs nothing)"
    )
