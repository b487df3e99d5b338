"""The page of an arena, served by the real command, and a real Chromium that looks at it."""

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Request, async_playwright
from playwright.async_api import Page as Tab

TOKEN = "a-token-of-the-tests"


def chromium() -> str:
    """The path of the browser.

    Raises:
        AssertionError: there is none; the sentence says the cure.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "the page is tested in a real Chromium, which is not installed: run `make chromium` as root"
    return path


@asynccontextmanager
async def web(home: Path, nats: str, arena: str, *words: str, token: str = TOKEN) -> AsyncIterator[str]:
    """Run `mesh web` and yield the page's address; without `nats` it finds the server of the home."""
    command = [sys.executable, "-m", "mesh_cli", "web", "--arena", arena, *words]
    if nats:
        command += ["--nats", nats]
    if token:
        command += ["--token", "-"]
    env = {**os.environ, "MESH_HOME": str(home)}
    async with await anyio.open_process(command, env=env, stderr=sys.stderr) as process:
        try:
            assert process.stdin
            assert process.stdout
            await process.stdin.send(f"{token}\n".encode())
            with anyio.fail_after(200):
                address = (await process.stdout.receive()).decode().strip()
            yield address
        finally:
            with anyio.CancelScope(shield=True):
                with suppress(ProcessLookupError):  # a test may have killed it
                    process.send_signal(signal.SIGINT)
                with anyio.move_on_after(10):
                    await process.wait()
                if process.returncode is None:
                    process.kill()


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A real Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium())
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """One visitor's tab; `complaints` are errors of the console and requests that leave the page's origin."""

    def __init__(self, browser: Browser, address: str, *, width: int = 1440, height: int = 900, scheme: str = "light"):
        self.complaints: list[str] = []
        self.address = address
        self._browser, self._size = browser, (width, height)
        self._scheme = scheme
        self._context: BrowserContext | None = None

    async def __aenter__(self) -> Self:
        width, height = self._size
        self._context = await self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if self._scheme == "dark" else "light"
        )
        self._context.set_default_timeout(120_000)
        self.tab: Tab = await self._context.new_page()
        self.tab.on("console", self._on_console)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", self._on_request)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._context
        await self._context.close()

    async def open(self, fragment: str = "") -> None:
        """Open the page and wait until it has loaded what there is."""
        await self.tab.goto(self.address + fragment)
        await self.tab.wait_for_selector("body[data-ready]")
        connected = '.connection[data-state="live"], .connection[data-state="idle"]'
        await self.tab.wait_for_selector(connected)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith((self.address, "data:")):
            self.complaints.append(f"a request to {request.url}")
