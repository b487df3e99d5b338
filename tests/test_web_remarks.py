"""The page says how sure an exact score is, and words what a version rules out, in a real Chromium."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from mesh import events as e
from mesh.exactness import exact_sentence
from mesh.jetstream import connect
from mesh.leaderboard import Ranking
from mesh.server import EmbeddedServer
from mesh.spec import ArenaSpec
from mesh.testing import SPEC, Log, git_hash
from mesh.wire import Post
from mesh_cli.live.headline import progress_line
from tests.support.page import Visit, browsing, web
from tests.test_exactness import arena, scored

pytestmark = pytest.mark.timeout(900)
WHY = "changed lr, which version 2 fixes"
WORDS = "1 proposal is ruled out since version 2, and counts nowhere: changed lr, which version 2 fixes"


class Told(Log):
    """A log that keeps its posts."""

    def __init__(self, spec: ArenaSpec = SPEC) -> None:
        super().__init__(spec)
        self.posts: list[Post] = []

    def add(self, author: str, event: e.AnyEvent, *, after_s: float = 1.0) -> Post:
        self.posts.append(super().add(author, event, after_s=after_s))
        return self.posts[-1]


def ruled_out(log: Log) -> Log:
    """Open a version that rules out the best proposal."""
    assert log.board.opened
    group = e.RuledOut(text=WHY, proposals=(git_hash("best"),))
    log.add("op", replace(log.board.opened, version=2, ruled_out=(group,)))
    return log


def test_the_headline_says_on_which_cases_a_score_is_exact() -> None:
    exact, noisy = arena(0.5, 0.5, 0.5, 0.5, cases=120).board, arena(0.5, 0.51, 0.49, 0.5).board
    line = progress_line(exact, Ranking(exact), 9.0, None)
    assert line.startswith("best loss 0.5000 (exact on these 120 cases), gain +1.0000 over the baseline 1.5000, ")
    assert progress_line(noisy, Ranking(noisy), 9.0, None).startswith("best loss 0.5000 ± 0.0089, gain ")


async def test_the_page_says_on_which_cases_a_score_is_exact_and_what_is_ruled_out(
    home: Path, server: EmbeddedServer
) -> None:
    log = arena(0.5, 0.5, 0.5, 0.5, kind=Told, cases=120)
    assert isinstance(log, Told)
    log.propose("next")
    scored(log, "next", 0.7, 0.7, cases=120)
    before = len(log.posts)
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        for post in log.posts:
            await bus.post(post)
        async with web(home, server.url, "a") as address, browsing() as browser, Visit(browser, address) as visit:
            await visit.open()
            tab = visit.tab
            await tab.locator("#facts .champion small").get_by_text("exact on these 120 cases").wait_for()
            sentence = exact_sentence(log.board)
            await tab.locator("#remarks").get_by_text(f"{sentence[0].upper()}{sentence[1:]}.", exact=True).wait_for()
            ruled_out(log)
            for post in log.posts[before:]:
                await bus.post(post)
            await tab.locator("#remarks").get_by_text(f"{WORDS}.", exact=True).wait_for()
            await tab.locator("#tab-activity").click()
            await tab.locator("#activity").get_by_role("button", name=f"promoted {git_hash('best')[:7]}").first.click()
            said = "Ruled out since version 2: it changed lr, which version 2 fixes. No score of it counts."
            await tab.locator("#drawer").get_by_text(said, exact=True).wait_for()
            assert await tab.locator("#drawer header .chip").inner_text() == "ruled out"
            assert visit.complaints == []
