"""The prompt and the answer of a model call on the page: text of others that is shown, bounded, and does nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from analytics.web.proposal import call_page
from mesh.errors import UnknownName
from mesh.events import KeptCall, Origin, ProposalPosted
from mesh.model_calls import MOST_TEXT_BYTES, ModelCall, pack_call
from mesh.server import EmbeddedServer
from mesh.testing import Arena, git_hash
from tests.support.page import Visit
from tests.test_web_page import NASTY, Stage, stage

pytestmark = pytest.mark.timeout(900)

PROMPT = [
    {"role": "system", "content": f"You improve a program. {NASTY}"},
    {"role": "user", "content": "w" * 3000 + "\n\x1b[2Jthe task\u202e\n</pre><script>window.owned = 'prompt'</script>"},
]
CALL = ModelCall(
    model="openai/<b>tiny</b>",
    parameters={"max_tokens": 8000},
    messages=PROMPT,
    answer=f"LR = 0.5\n{NASTY}",
    thoughts="larger, perhaps",
)


def by_model(tree: str, call: KeptCall | None) -> ProposalPosted:
    return ProposalPosted(
        tree=tree,
        commit=git_hash("c"),
        parents=(git_hash("t"),),
        title=f"idea {tree[:2]}",
        rationale="why not",
        origin=Origin(how="model", name="openai/tiny"),
        call=call,
    )


@asynccontextmanager
async def asked(home: Path, server: EmbeddedServer) -> AsyncIterator[Stage]:
    """A page about three proposals of a model: its call is kept, was dropped, or was never kept."""
    async with stage(home, server) as on:
        kept, data = pack_call(CALL)
        await on.bus.keep(kept.sha256, data)
        gone = replace(kept, sha256="0" * 64)
        await on.say(*(by_model(letter * 40, call) for letter, call in (("d", kept), ("e", gone), ("f", None))))
        yield on


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (375, 812)])
async def test_a_proposal_opens_the_prompt_and_the_answer_of_its_model(
    home: Path, server: EmbeddedServer, width: int, height: int
) -> None:
    async with asked(home, server) as on, Visit(on.browser, on.address, width=width, height=height) as visit:
        asking: list[str] = []
        await visit.open()
        tab = visit.tab
        tab.on("request", lambda request: asking.append(request.url))
        if width < 500:
            await tab.locator("nav.bottom").get_by_text("Activity", exact=True).click()
        await tab.locator("#activity").get_by_text("idea dd").first.click()
        drawer = tab.locator("#drawer")
        door = drawer.get_by_text("Prompt, 3,1", exact=False)
        await door.wait_for()
        assert not any(url.endswith("/call") for url in asking)  # nothing is loaded before somebody wants it
        await door.focus()
        await tab.keyboard.press("Enter")
        words = drawer.locator("pre.words")
        await words.nth(3).wait_for()
        shown = [await words.nth(at).inner_text() for at in range(await words.count())]
        assert shown == [
            f"You improve a program. {NASTY}",
            "w" * 3000 + "\n\ufffd[2Jthe task\ufffd\n</pre><script>window.owned = 'prompt'</script>",
            "larger, perhaps",
            f"LR = 0.5\n{NASTY}",
        ]
        names = await drawer.locator(".call h4").all_inner_texts()
        assert [name.lower() for name in names] == [
            "prompt: system",
            "prompt: user",
            "thoughts of the model",
            "answer of the model",
        ]
        assert "openai/<b>tiny</b> (max_tokens 8000)" in await drawer.locator(".call").inner_text()
        assert await tab.evaluate("document.getElementById('drawer').scrollWidth <= window.innerWidth")
        assert await tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert await tab.evaluate("[window.owned ?? null, document.images.length]") == [None, 0]
        for _ in range(2):  # what is open is not asked for again
            await door.click()
        assert sum(url.endswith("/call") for url in asking) == 1
        await tab.keyboard.press("Escape")
        await tab.locator("#activity").get_by_text("idea ee").first.click()
        await drawer.locator("summary", has_text="Prompt").click()
        await drawer.get_by_text("It is not kept any more: only the newest 64 MB").wait_for()
        await tab.keyboard.press("Escape")
        await tab.locator("#activity").get_by_text("idea ff").first.click()
        await drawer.get_by_text("why not").wait_for()
        assert await drawer.locator("summary", has_text="Prompt").count() == 0
        assert visit.complaints == []


async def test_long_texts_of_a_call_are_cut_and_the_rest_is_counted(tmp_path: Path) -> None:
    arena = Arena(tmp_path)
    long = ModelCall(
        model="x/y", messages=[{"role": "user", "content": "p" * 100_000}], answer="a" * MOST_TEXT_BYTES, trouble=""
    )
    kept, data = pack_call(long)
    await arena.bus.keep(kept.sha256, data)
    arena.propose_baseline()
    arena.add("ann", by_model("d" * 40, kept))
    page = await call_page(arena.board, arena.bus, "d" * 40)
    assert [(len(each["text"]), each["left_out"]) for each in (*page["messages"], page["answer"])] == [
        (60_000, 40_000),
        (60_000, MOST_TEXT_BYTES - 60_000),
    ]
    for nothing in (arena.base, "f" * 40, "<script>"):
        with pytest.raises(UnknownName, match="keeps no model call of a proposal"):
            await call_page(arena.board, arena.bus, nothing)
