"""How soon the page of an arena with 5,000 runs shows its first picture in a real Chromium, and how fast it answers.

`first_picture_ms` is the time from the navigation until the progress chart is drawn, by the browser's clock, each time
in an empty profile. `small.first_picture_ms` is the same for an arena of about 20 runs: the cost of page, server and
browser without the data, and so the raw limit. `live_ms` is the time from the log's acknowledgement of a note until the
page shows it, `show_all_s` from the click until the whole lineage is laid out, `drawer_ms` from a click on a
leaderboard row until the proposal is shown. `mesh web` serves the page in a process of its own.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from playwright.async_api import Browser, Page, async_playwright

from benchmarks.parts.family import posts
from benchmarks.parts.harness import Figures, Goal, ratio, say
from mesh.errors import HostTrouble
from mesh.events import NotePosted
from mesh.jetstream import JetStreamBus, connect
from mesh.server import embedded
from mesh.wire import Post

PROPOSALS = {"small": 16, "large": 4300}
"""About 20 and 5,000 runs: champions have three more runs each."""
GOALS: dict[str, Goal] = {"first_picture_ms": ("<", 2000), "first_picture_ratio": ("<=", 3), "live_ms": ("<", 1000)}


async def measure(quick: bool) -> Figures:
    """Return the time to the first picture of a small and a large arena (ms), and how soon the large one answers."""
    visits, notes = (3, 10) if quick else (15, 60)
    with tempfile.TemporaryDirectory(prefix="mesh-bench-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        async with embedded(home / "server", sync="2m") as server, connect(server.url) as hub, _chromium() as browser:
            buses: dict[str, JetStreamBus] = {}
            for size, proposals in PROPOSALS.items():
                buses[size] = await hub.arena(size, create=True)
                await buses[size].post_all(posts(size, proposals))
            async with _web(home, server.url, "small") as small, _web(home, server.url, "large") as large:
                took: dict[str, list[float]] = {size: [] for size in PROPOSALS}
                for _ in range(visits):
                    for size, address in (("small", small), ("large", large)):
                        took[size].append(await _first_picture_ms(browser, address))
                        say(f"{size}: first picture after {took[size][-1]:.0f} ms")
                figures = await _use(browser, large, buses["large"], notes)
    return {
        "first_picture_ms": statistics.median(took["large"]),
        "small.first_picture_ms": statistics.median(took["small"]),
        "first_picture_ratio": ratio(took["large"], took["small"]),
        **figures,
    }


@asynccontextmanager
async def _chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        raise HostTrouble("chromium is not installed; `make chromium` installs it")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def _web(home: Path, nats: str, arena: str) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "mesh_cli", "web", "--nats", nats, "--arena", arena]
    own = home / f"of-{arena}"
    async with await anyio.open_process(
        command, env={**os.environ, "MESH_HOME": str(own)}, stderr=sys.stderr
    ) as process:
        assert process.stdout
        with anyio.fail_after(300):
            address = (await process.stdout.receive()).decode().strip()
        try:
            yield address
        finally:
            process.terminate()


async def _first_picture_ms(browser: Browser, address: str) -> float:
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    tab = await context.new_page()
    await tab.goto(address)
    mark = "performance.getEntriesByName('first-picture')[0]?.startTime ?? 0"
    while not (found := float(await tab.evaluate(mark))):
        await anyio.sleep(0.02)
    await context.close()
    return found


async def _use(browser: Browser, address: str, bus: JetStreamBus, notes: int) -> Figures:
    tab = await browser.new_page(viewport={"width": 1440, "height": 900})
    await tab.goto(address)
    await tab.wait_for_selector('.connection[data-state="live"], .connection[data-state="idle"]')
    live_ms: list[float] = []
    for number in range(notes):
        text = f"probe {number} of the benchmark"
        await bus.post(Post.new("probe", NotePosted(channel="general", text=text)))
        live_ms.append(await _until_ms(tab, f"document.body.textContent.includes('{text}')"))
    drawer_ms: list[float] = []
    for row in range(min(notes, 20)):
        await tab.locator("#standing tbody tr").nth(row).evaluate("row => row.click()")
        drawer_ms.append(await _until_ms(tab, "document.querySelector('#drawer .inner') !== null"))
        await tab.keyboard.press("Escape")
    await tab.locator("#dag-all").evaluate("button => button.click()")
    whole = PROPOSALS["large"]
    all_ms = await _until_ms(tab, f"document.getElementById('graph').dataset.nodes === '{whole}'")
    return {
        "live_ms": statistics.median(live_ms),
        "live_max_ms": max(live_ms),
        "drawer_ms": statistics.median(drawer_ms),
        "show_all_s": all_ms / 1000,
    }


async def _until_ms(tab: Page, condition: str) -> float:
    began = time.perf_counter()
    with anyio.fail_after(120):
        while not await tab.evaluate(condition):
            pass  # each evaluation takes a few milliseconds
    return (time.perf_counter() - began) * 1000
