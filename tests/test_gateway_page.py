"""The page that a gateway serves, in a real Chromium: claims beside what was measured, and a member's patch."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from mesh.events import ArenaClosed, NotePosted, RunStarted, WorkerJoined
from mesh.jetstream import JetStreamBus, connect
from mesh.open_arena import open_arena
from mesh.server import EmbeddedServer
from mesh.wire import Post
from tests.support.arenas import ARENA, write_arena
from tests.support.history import finish, request
from tests.support.hub import Hub, curl, gateway, register
from tests.support.page import Visit, browsing
from tests.test_cli import fill

PATCH = """--- a/train.py
+++ b/train.py
@@ -4,1 +4,1 @@
-HEIGHT = 0.5 # mesh: 0.0..2.0
+HEIGHT = 0.4 # mesh: 0.0..2.0
"""
OTHER = ARENA.replace("tiny", "other")
HTML = ("-H", "Accept: text/html,*/*;q=0.8")
NASTY = "<img src=x onerror=\"window.owned = 'claim'\"><b>bold</b>"

pytestmark = pytest.mark.timeout(900)


class Stage(NamedTuple):
    """A gateway that serves the page of the arena `tiny`, its log, its champion, and a visitor."""

    hub: Hub
    bus: JetStreamBus
    champion: str
    visit: Visit


@asynccontextmanager
async def stage(home: Path, server: EmbeddedServer, *, width: int = 1440, path: str = "/") -> AsyncIterator[Stage]:
    _, better = await fill(home, server.url, write_arena(home.parent / "arena"))
    async with (
        connect(server.url) as log,
        gateway(home, server.url) as hub,
        browsing() as browser,
        Visit(browser, hub.url + path, width=width) as visit,
    ):
        yield Stage(hub, await log.arena("tiny"), better, visit)


async def propose(on: Stage, key: str, patch: str = PATCH) -> None:
    """Fill in the form, and send it from the keyboard."""
    form = on.visit.tab.locator("#propose")
    if key:
        await form.get_by_label("Key").fill(key)
    await form.get_by_label("Title").fill("a lower height")
    await form.get_by_label("Rationale").fill("it was too high")
    await form.get_by_label("Unified diff").fill(patch)
    await on.visit.tab.keyboard.press("Control+Enter")


async def test_a_claim_stands_beside_what_was_measured_and_does_nothing(home: Path, server: EmbeddedServer) -> None:
    async with stage(home, server) as on:
        await on.visit.open()
        tab = on.visit.tab
        await tab.locator("#tab-board").click()
        await tab.locator(".threads").get_by_text("hello").wait_for()
        assert await tab.locator(".claims").is_hidden()
        commit = (await curl(f"{on.hub.url}/api/proposal/{on.champion}")).json["commit"]
        text = f"commit:{commit[:7]} platform:H100 loss:0.2 | {NASTY}\ncommit:feed123 loss:0.1 | of nobody"
        await on.bus.post(Post.new("bob", NotePosted(channel="results", text=text)))
        row = tab.locator(".claims tbody tr").filter(has_text="H100")
        await row.wait_for()
        assert [await row.locator("td").nth(place).inner_text() for place in (1, 2)] == ["0.2000", "0.2500"]
        assert (await row.locator("td").nth(3).inner_text()).startswith("+0.0500")
        assert NASTY in await row.inner_text()
        assert "unknown commit" in await tab.locator(".claims tbody tr").filter(has_text="of nobody").inner_text()
        await row.get_by_role("button").click()
        await tab.locator("#drawer").get_by_text(NASTY).first.wait_for()
        assert await tab.evaluate("[window.owned ?? null, document.images.length]") == [None, 0]
        assert on.visit.complaints == []


@pytest.mark.parametrize(("width", "path"), [(1440, "/"), (400, "/a/tiny/")])
async def test_a_member_proposes_a_patch_and_sees_its_score(
    home: Path, server: EmbeddedServer, width: int, path: str
) -> None:
    async with stage(home, server, width=width, path=path) as on:
        tab, addresses = on.visit.tab, list[str]()
        tab.on("request", lambda asked: addresses.append(asked.url))
        key = await register(on.hub.url, "gpu-7.lab")
        await on.visit.open()
        await tab.locator("#propose-open").press("Enter")
        await propose(on, key)
        await tab.locator(".fate").get_by_text("in the queue").wait_for()
        assert await tab.locator(".fate b").inner_text() == "a lower height"
        listed = (await curl(f"{on.hub.url}/api/dag")).json["nodes"]
        [tree] = [node["id"] for node in listed if node["title"] == "a lower height"]
        await measure(on, tree, 0.16)
        await tab.locator(".fate").get_by_text("0.1600, 0.0900 better than what it changes (0.2500)").wait_for()
        assert key not in await tab.content()
        assert key not in await tab.evaluate("[...document.querySelectorAll('input, textarea')].map((i) => i.value)")
        assert not any(key in address for address in addresses)
        assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await tab.locator(".fate").get_by_role("button", name="Open it").click()
        await tab.locator("#drawer").get_by_text("it was too high").wait_for()
        await tab.get_by_role("button", name="Propose a change to it").press("Enter")
        assert await tab.locator("#propose").get_by_label("Against").input_value() == tree
        await propose(on, "", PATCH.replace("0.4", "0.3").replace("0.5", "0.4"))
        await tab.locator(".fate").get_by_text("in the queue").wait_for()
        assert on.visit.complaints == []


async def test_what_cannot_be_proposed_is_one_sentence(home: Path, server: EmbeddedServer) -> None:
    async with stage(home, server) as on:
        tab = on.visit.tab
        key = await register(on.hub.url, "gpu-7.lab")
        await on.visit.open()
        await tab.locator("#propose-open").click()
        said = tab.locator("#propose [role=alert]")
        for given, sentence in (
            ("a key with spaces and ünicode", "This is not a key"),
            ("0" * 64, "The gateway does not know this key"),
        ):
            await propose(on, given)
            await said.get_by_text(sentence).wait_for()
        await propose(on, key, PATCH.replace("0.5", "0.7"))
        await said.get_by_text("The patch cannot be used").wait_for()
        await propose(on, "", "no diff at all")
        await said.get_by_text("The patch has no diff in it").wait_for()
        await propose(on, "", PATCH.replace("train.py", "score.py"))
        await said.get_by_text("score.py").wait_for()
        await on.bus.post(Post.new("operator", ArenaClosed(version=1, reason="time")))
        await tab.locator("#connection-text").get_by_text("closed").wait_for()
        await propose(on, "")
        await said.get_by_text("Arena closed: time").wait_for()
        assert await tab.locator(".fate").is_hidden()
        assert key not in await tab.content()
        refused = [each for each in on.visit.complaints if "status of 4" not in each]  # the browser's own lines
        assert refused == []


async def test_each_of_several_arenas_has_its_page(home: Path, server: EmbeddedServer) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with connect(server.url) as log:
        await open_arena(log, write_arena(home.parent / "other", arena=OTHER), home=home)
    async with gateway(home, server.url) as hub, browsing() as browser, Visit(browser, f"{hub.url}/") as visit:
        tab = visit.tab
        assert (await curl(f"{hub.url}/a/other", *HTML)).headers["location"] == "/a/other/"
        for place in ("/", "/a/other/"):
            assert (await curl(f"{hub.url}{place}")).headers["content-type"].startswith("text/plain")  # the guide
        assert (await curl(f"{hub.url}/a/nobody/api/state", *HTML)).status == 404
        await tab.goto(hub.url)
        for name in ("other", "tiny"):
            await tab.get_by_role("link", name=name).click()
            await tab.wait_for_selector("body[data-ready]", timeout=120_000)
            assert await tab.locator("#arena").inner_text() == name
            await tab.go_back()
        assert visit.complaints == []


async def test_where_strangers_may_not_read_one_sentence_is_the_page(home: Path, server: EmbeddedServer) -> None:
    await fill(home, server.url, write_arena(home.parent / "arena"))
    async with gateway(home, server.url, "--no-open") as hub:
        for path in ("/", "/a/tiny/", "/a/nobody/"):
            assert b"no page" not in (await curl(f"{hub.url}{path}")).body
            page = await curl(f"{hub.url}{path}", *HTML)
            assert page.status == 401
            assert b"This hub has no page for strangers" in page.body
            assert b"tiny" not in page.body
        for path in ("/api/state", "/a/tiny/api/state", "/a/tiny/api/dots", "/a/tiny/api/board"):
            assert (await curl(f"{hub.url}{path}")).status in (401, 404), path


async def measure(on: Stage, tree: str, value: float) -> None:
    """Let a worker run a proposal."""
    done = replace(finish("r-new", tree, value), evaluator="", worker="w-0")
    await on.bus.post(Post.new("curator", replace(request("r-new", tree), evaluator="")))
    joined = WorkerJoined(boot="w-0", worker_class="cpu", device="cpu", slots=1)
    for event in (joined, RunStarted(run="r-new", attempt=1, worker="w-0"), done):
        await on.bus.post(Post.new("worker-0", event))
