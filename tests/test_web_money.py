"""The page says what was spent, of what, and what the gain cost, in a real Chromium."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from mesh import events as e
from mesh.jetstream import connect
from mesh.server import EmbeddedServer
from mesh.testing import git_hash
from tests.support.page import Visit, browsing, web
from tests.test_exactness import arena
from tests.test_web_remarks import Told

pytestmark = pytest.mark.timeout(900)


async def test_the_top_line_has_the_dollars_the_budget_and_the_gain_for_each(
    home: Path, server: EmbeddedServer
) -> None:
    log = arena(0.5, 0.5, 0.5, 0.5, kind=Told, cases=120)  # the loss went from 1.5 to 0.5
    assert isinstance(log, Told)
    thought = e.ModelAsked(model="m", purpose="x", ok=True, cost=e.Cost(usd=4.0, tokens_in=1, tokens_out=1))
    log.add("rex", thought)
    log.add("operator", e.BudgetGranted(n=1, usd=16.0))
    before = len(log.posts)
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        for post in log.posts:
            await bus.post(post)
        async with web(home, server.url, "a") as address, browsing() as browser, Visit(browser, address) as visit:
            await visit.open()
            spent = visit.tab.locator("#facts div", has_text="spent")
            await spent.get_by_text("$4.00").wait_for()
            await spent.get_by_text("of $20.00 · gain 0.25 per $", exact=True).wait_for()
            log.add("mia", replace(thought, cost=e.Cost(tokens_in=9, tokens_out=9)))
            for post in log.posts[before:]:
                await bus.post(post)
            await spent.get_by_text("of $20.00 · 1 price not known", exact=True).wait_for()
            assert visit.complaints == []
    assert git_hash("best") in log.board.champions
