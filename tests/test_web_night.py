"""The page from the evening to the morning, in a browser that stays open: ends, kills, sleep and restarts."""

import json
import re
import signal
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import psutil
import pytest
from anyio.streams.text import TextReceiveStream
from msgspec.structs import replace

from benchmarks.parts.family import posts
from mesh.events import NotePosted, Origin, ProposalPosted
from mesh.jetstream import JetStreamBus, connect
from mesh.ports import free_port
from mesh.server import EmbeddedServer
from mesh.testing import git_hash
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.history import finish, request
from tests.support.page import Visit, browsing, web
from tests.test_up import MESH, PATIENCE_S, belonging_to

AWAY, IDLE, LIVE = (f'.connection[data-state="{state}"]' for state in ("away", "idle", "live"))
MS = 1000 * PATIENCE_S
NEW = "e" * 40

pytestmark = pytest.mark.timeout(900)


async def said_while_away(bus: JetStreamBus) -> None:
    """Post a proposal with a score, and a note."""
    proposal = ProposalPosted(
        tree=NEW, commit=git_hash("c"), parents=(git_hash("t"),), title="at night", origin=Origin(how="human")
    )
    asked, done = replace(request("r-new", NEW), evaluator=""), replace(finish("r-new", NEW, 0.5), evaluator="")
    for event in (proposal, asked, done, NotePosted(channel="general", text="good morning")):
        await bus.post(Post.new("ann", event))


async def shown_once(visit: Visit, scores: int) -> None:
    """Check that what was said while the page was away is there, once, and that the numbers are right."""
    tab = visit.tab
    await tab.locator("#progress-status").get_by_text(f"of {scores} scores").wait_for(timeout=MS)
    await tab.locator("#activity").get_by_text("#general: good morning").wait_for(timeout=MS)
    await tab.locator(f'#standing tr[data-id="{NEW}"]').wait_for(timeout=MS)
    assert await tab.locator("#activity").get_by_text("proposed at night").count() == 1
    assert (
        await tab.locator("#activity").get_by_text("opened version 1 of the arena").count() == 1
    )  # nor is it forgotten
    wanted, shown = await wanted_and_shown(visit)
    with anyio.move_on_after(PATIENCE_S):
        while shown != wanted:  # the page has yet to draw what it has heard
            wanted, shown = await wanted_and_shown(visit)
    assert shown == wanted
    await tab.locator("#tab-board").click()
    assert await tab.locator(".note", has_text="good morning").count() == 1
    await tab.locator("#tab-activity").click()
    await tab.locator("#trouble").wait_for(state="hidden", timeout=MS)


async def wanted_and_shown(visit: Visit) -> tuple[tuple[list[str], int], tuple[list[str], int]]:
    """Return the leaderboard and the number of proposals by the server's state, and as the page shows them."""
    state = await state_of(visit, lambda s: not s["trouble"] and s["as_of"] == s["seq"])
    rows = visit.tab.locator("#standing tr[data-id]")
    trees: list[str] = await rows.evaluate_all("rows => rows.map((row) => row.dataset.id)")
    nodes: int = await visit.tab.evaluate("document.getElementById('graph')._cyreg.cy.nodes().length")
    return ([row["proposal"] for row in state["standing"]], state["counts"]["proposals"]), (trees, nodes)


def page_of(home: Path) -> psutil.Process:
    """The process that serves the page."""
    [found] = [process for process in belonging_to(home) if "web" in process.cmdline()]
    return found


async def test_a_page_whose_process_was_killed_says_since_when_and_comes_back_on_its_port(
    home: Path, server: EmbeddedServer
) -> None:
    async with connect(server.url) as hub, browsing() as browser:
        bus = await hub.arena("a", create=True)
        await bus.post_all(posts("a", 5))
        port = str(free_port())
        async with web(home, server.url, "a", "--port", port) as address, Visit(browser, address) as visit:
            await visit.open()
            before = int((await visit.tab.locator("#progress-status").inner_text()).split(" of ")[1].split()[0])
            page_of(home).kill()
            await visit.tab.locator(AWAY).wait_for()
            said = await visit.tab.locator("#connection-text").inner_text()
            assert said.startswith("not connected since ")
            await visit.tab.locator("#trouble").get_by_text("has not heard from its server since").wait_for()
            await said_while_away(bus)
            async with web(home, server.url, "a", "--port", port):
                await visit.tab.locator(IDLE).wait_for(timeout=MS)
                await shown_once(visit, before + 1)


async def test_a_frozen_page_is_noticed_and_goes_on(home: Path, server: EmbeddedServer) -> None:
    """A connection that is open and silent, as after the sleep of a laptop."""
    async with connect(server.url) as hub, browsing() as browser:
        bus = await hub.arena("a", create=True)
        await bus.post_all(posts("a", 5))
        async with web(home, server.url, "a") as address, Visit(browser, address) as visit:
            await visit.open()
            before = int((await visit.tab.locator("#progress-status").inner_text()).split(" of ")[1].split()[0])
            page = page_of(home)
            page.suspend()
            try:
                await visit.tab.locator(AWAY).wait_for(timeout=MS)
                await visit.tab.locator("#trouble").get_by_text("has not heard from its server since").wait_for()
                await said_while_away(bus)
            finally:
                page.resume()
            await visit.tab.locator(IDLE).wait_for(timeout=MS)
            await shown_once(visit, before + 1)


async def test_a_browser_that_slept_for_hours_asks_again(home: Path, server: EmbeddedServer) -> None:
    async with connect(server.url) as hub, browsing() as browser:
        bus = await hub.arena("a", create=True)
        await bus.post_all(posts("a", 5))
        async with web(home, server.url, "a") as address, Visit(browser, address) as visit:
            await visit.tab.clock.install()
            await visit.open()
            before = int((await visit.tab.locator("#progress-status").inner_text()).split(" of ")[1].split()[0])
            asked: list[str] = []
            visit.tab.on("request", lambda each: asked.append(each.url))
            await said_while_away(bus)
            await visit.tab.clock.fast_forward("08:00:00")
            await visit.tab.locator(IDLE).wait_for(timeout=MS)
            with anyio.fail_after(PATIENCE_S):
                while not any("/api/events" in url for url in asked):
                    await visit.tab.clock.run_for(1000)
            await shown_once(visit, before + 1)


def server_of(home: Path) -> psutil.Process:
    """The server that `mesh up` runs."""

    def is_server(process: psutil.Process) -> bool:
        with suppress(psutil.Error):  # trials end meanwhile
            return "".join(process.cmdline()[:1]).endswith("nats-server")
        return False

    [found] = filter(is_server, belonging_to(home))
    return found


async def state_of(visit: Visit, holds: Callable[[dict[str, Any]], bool] = bool) -> dict[str, Any]:
    """The page's state, when it is as expected."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            state: dict[str, Any] = await visit.tab.evaluate("fetch('/api/state').then((answer) => answer.json())")
            if holds(state):
                return state
            await anyio.sleep(0.3)


async def page_named_by(up: anyio.abc.Process) -> str:
    """The address of the page that `mesh up --web` names."""
    assert up.stderr
    said = ""
    with anyio.fail_after(PATIENCE_S):
        async for text in TextReceiveStream(up.stderr):
            said += text
            if found := re.search(r"live page (http://\S+/)", said):
                return found[1]
    raise AssertionError(said)


@pytest.mark.greedy
@pytest.mark.timeout(1200)
async def test_the_page_beside_a_swarm_lives_through_server_swarm_and_restart(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_NATS", raising=False)
    arena = write_arena(tmp_path / "arena")
    command = [*MESH, "up", "--hours", "8", "--quiet", "--web", "--slots", "2"]
    async with AsyncExitStack() as stack:

        async def start() -> anyio.abc.Process:
            up = await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=arena)
            stack.push_async_callback(end, up)
            return up

        up = await start()
        own = await page_named_by(up)
        beside = await stack.enter_async_context(web(home, "", "tiny"))
        browser = await stack.enter_async_context(browsing())
        first, second = [await stack.enter_async_context(Visit(browser, address)) for address in (own, beside)]
        for visit in (first, second):
            await visit.open()
            await visit.tab.locator(LIVE).wait_for(timeout=MS)

        # when the server is killed, `mesh up` starts it again, and both pages go on
        known = (await state_of(second))["seq"]
        server_of(home).kill()
        for visit in (first, second):
            await state_of(visit, lambda s: s["seq"] > known and s["has_workers"] and not s["silent_since"])
            await visit.tab.locator(LIVE).wait_for(timeout=MS)

        # when the whole swarm is killed, its own page ends too, and the one beside serves the store itself
        up.kill()
        await first.tab.locator("#trouble").get_by_text("has not heard from its server since").wait_for(timeout=MS)
        await second.tab.locator(IDLE).wait_for(timeout=MS)
        # agents that could still say that they leave have ended the swarm; without that, they are only gone
        said = await second.tab.locator("#connection-text").inner_text()
        assert said.startswith(("the swarm has ended · ", "no worker is here · ")), said
        ended = await state_of(second, lambda s: not s["trouble"] and s["as_of"] == s["seq"] >= known)
        asked = [*MESH, "leaderboard", "--arena", "tiny", "--json", "-n", "100"]
        rows = json.loads((await anyio.run_process(asked)).stdout)
        assert [(row["proposal"], row["mean"]) for row in rows] == [
            (row["proposal"], row["mean"]) for row in ended["standing"]
        ]

        # the next `mesh up` on this home goes on, and so does the page, without a reload
        await page_named_by(await start())
        await state_of(second, lambda s: s["seq"] > ended["seq"] and s["has_workers"] and not s["trouble"])
        await second.tab.locator(LIVE).wait_for(timeout=MS)
        await second.tab.locator("#trouble").wait_for(state="hidden", timeout=MS)
        await state_of(second, lambda s: s["counts"]["scored"] > ended["counts"]["scored"])
        nodes = "document.getElementById('graph')._cyreg.cy.nodes().map((node) => node.id())"
        shown = await second.tab.evaluate(nodes)
        assert len(shown) == len(set(shown)) > 0


@pytest.mark.serial
@pytest.mark.timeout(1200)
async def test_the_open_page_says_when_the_time_is_over_and_goes_on_with_the_next_swarm(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MESH_NATS", raising=False)
    arena = write_arena(tmp_path / "arena")
    async with AsyncExitStack() as stack:

        async def start(*words: str) -> anyio.abc.Process:
            command = [*MESH, "up", "--slots", "2", "--quiet", *words]
            up = await anyio.open_process(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=arena)
            stack.push_async_callback(end, up)
            return up

        up = await start("--hours", str(40 / 3600), "--web")
        address = await page_named_by(up)
        browser = await stack.enter_async_context(browsing())
        visit = await stack.enter_async_context(Visit(browser, address))
        await visit.open()
        tab, ended = visit.tab, visit.tab.locator("#ended")
        assert await ended.is_hidden()

        # when the time is over, the swarm ends and the page stays
        await ended.wait_for(state="visible", timeout=MS)
        state = await state_of(visit, lambda s: not s["trouble"] and s["as_of"] == s["seq"])
        assert up.returncode is None
        assert not any("gpu_worker" in " ".join(process.cmdline()) for process in belonging_to(home))
        assert (await tab.locator("#connection-text").inner_text()).startswith("the swarm has ended · entry ")
        champion = next(row for row in state["standing"] if row["state"] == "champion")
        said = await ended.inner_text()
        ending = rf"The swarm ended at \d\d:\d\d:\d\d\. Champion: {re.escape(champion['title'])}, loss (\d[\d.e-]*\d)\b"
        shown = re.match(ending, said)
        assert shown, said
        assert float(shown[1]) == pytest.approx(champion["mean"], abs=0.0005)  # the page rounds
        commands = [text for text in await ended.locator("code").all_inner_texts() if text != "mesh up"]
        assert commands == [f"mesh {words} --arena tiny" for words in ("show champion", "apply champion", "report")]
        for command in commands:  # each works as it stands, though the swarm's server is gone
            words = [*command.split()[1:], *(["-o", str(tmp_path / "r.html")] if "report" in command else [])]
            words += ["--help"] if "apply" in command else []
            done = await anyio.run_process([*MESH, *words], check=False)
            assert done.returncode == 0, (command, done.stderr)
        assert await tab.locator("#trouble").is_hidden()

        # the next swarm on this home is shown by the same page without a reload, and its end too
        again = await start("--hours", str(40 / 3600))
        await ended.wait_for(state="hidden", timeout=MS)
        await tab.locator(LIVE).wait_for(timeout=MS)
        await state_of(visit, lambda s: s["counts"]["scored"] > state["counts"]["scored"])
        with anyio.fail_after(2 * PATIENCE_S):
            assert await again.wait() == 0
        await ended.wait_for(state="visible", timeout=MS)
        assert (await ended.inner_text()) != said


async def end(up: anyio.abc.Process) -> None:
    """End a swarm with all its processes."""
    with anyio.CancelScope(shield=True):
        if up.returncode is None:
            up.send_signal(signal.SIGINT)
            with anyio.move_on_after(100):
                await up.wait()
        if up.returncode is None:
            up.kill()
        await up.aclose()
