"""`mesh top`: what it shows on a real bus, what its keys do, and that it ends as it should on a real terminal."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import msgspec
import pytest
from textual.pilot import Pilot

from mesh import settings
from mesh.events import CurvePoint, NotePosted, RunStarted, WorkerJoined
from mesh.jetstream import JetStreamBus, connect
from mesh.roll_call import answer_roll_call
from mesh.server import EmbeddedServer
from mesh.wire import Post
from mesh_cli.exit import ExitCode
from mesh_cli.live.feed import Watch
from mesh_cli.live.top import Top, bar
from mesh_cli.projected import asking
from tests.support.folding import projecting
from tests.support.history import HISTORY, T1, T2, T3, T9, finish, promote, proposal, request
from tests.support.terminal import Terminal
from tests.test_cli import HOSTILE, serving

SIZE = (80, 24)


class Screen:
    """A `mesh top` without a terminal, on the log of arena `a`."""

    def __init__(
        self, bus: JetStreamBus, app: Top, pilot: Pilot[None], tasks: anyio.abc.TaskGroup, watch: Watch
    ) -> None:
        self.bus, self.app, self.pilot, self.tasks, self.watch = bus, app, pilot, tasks, watch

    def drawn(self) -> str:
        """What stands on the screen."""
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    async def until(self, holds: Callable[[str], bool]) -> str:
        """Wait until something is drawn, and return the screen."""
        with anyio.move_on_after(100):
            while not holds(self.drawn()):
                await self.pilot.pause(0.05)
        assert holds(self.drawn()), self.drawn()
        return self.drawn()

    async def say(self, *events: object) -> None:
        for event in events:
            await self.bus.post(Post.new("ann", event))  # type: ignore[arg-type]


@asynccontextmanager
async def a_screen(server: EmbeddedServer, projected: Path | None = None) -> AsyncIterator[Screen]:
    """Yield a screen; `projected` is the file of a projector that is asked."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(connect(server.url, outage_s=600))
        bus = await hub.arena("a", create=True)
        for author, event in HISTORY:
            await bus.post(Post.new(author, event))
        if projected:
            await stack.enter_async_context(projecting(hub, projected))
        watch = Watch(bus, lambda: hub.link.nc.is_connected)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch.run)
            app = Top(watch)
            async with app.run_test(size=SIZE) as pilot:
                screen = Screen(bus, app, pilot, tasks, watch)
                await screen.until(lambda text: f"champion {T2[:10]}" in text and "past_" in text)
                yield screen
            tasks.cancel_scope.cancel()


@pytest.fixture(params=["folded", "asked"])
def projected(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """Return the file of a projector that is asked, also about a short log, or None where the log is folded."""
    monkeypatch.setattr(asking, "LONG", 0)
    monkeypatch.setattr(asking, "_CATCHES_UP_WITHIN_S", 100.0)  # of a busy machine
    return tmp_path / "top.duckdb" if request.param == "asked" else None


async def test_the_panes_show_the_arena_and_what_happens_in_it(
    server: EmbeddedServer, home: Path, projected: Path | None
) -> None:
    async with a_screen(server, projected) as screen:
        head = f"a · open · seq 24 · champion {T2[:10]} 1.5000"
        first = await screen.until(lambda text: "≡ #general: hello\ufffdthere" in text and head in text)
        assert "leaderboard" in first
        await screen.say(
            WorkerJoined(boot="b9", worker_class="cuda-h100", device="cuda", slots=4),
            request("r9", T1, 9),
            request("r10", T3, 10),
            RunStarted(run="r9", attempt=1, worker="b9"),
        )
        screen.tasks.start_soon(answer_roll_call, screen.bus, "b9", "w9")
        await screen.until(lambda text: "1/4" in text and "waiting" in text)
        for _ in range(1000):
            await screen.bus.tell("curve.r9", msgspec.json.encode(CurvePoint(5, 2.5, 0.5, 0.5)))
            await screen.pilot.pause(0.05)
            if "████░░░░  50%  2.5" in screen.drawn():
                break
        assert "explore  1111111111  ████░░░░  50%  2.5" in screen.drawn()
        await screen.say(finish("r9", T1, 0.25), promote(T1, T2, 5))
        await screen.until(lambda text: f"champion {T1[:10]}" in text)
        assert len(screen.drawn().splitlines()) == SIZE[1]
        assert screen.watch.is_folded == (projected is None)


async def test_a_narrow_screen_leaves_columns_out_and_shows_the_titles(server: EmbeddedServer, home: Path) -> None:
    async with a_screen(server) as screen:
        titled = "│ rank  score   state          proposal    title"
        await screen.until(lambda text: titled in text and "95 % interval" not in text)
        await screen.pilot.resize_terminal(120, 40)
        await screen.until(lambda text: "95 % interval" in text and "author" in text)
        await screen.pilot.resize_terminal(80, 24)
        await screen.until(lambda text: titled in text and "95 % interval" not in text)


async def test_keys_move_filter_and_open_details(server: EmbeddedServer, home: Path, projected: Path | None) -> None:
    async with a_screen(server, projected) as screen:
        pilot = screen.pilot
        await pilot.press("question_mark")
        await screen.until(lambda text: "shift+tab" in text)
        await pilot.press("escape")
        await screen.until(lambda text: "shift+tab" not in text)
        await pilot.press("down", "enter")
        await screen.until(
            lambda text: (
                f"proposal {T1[:10]}" in text
                and "by ann (baseline)" in text
                and re.search(r"r1 +explore +1 +3\.0000", text) is not None
            )
        )
        await pilot.press("escape")
        await pilot.press("slash", *"title 2222", "enter")
        shown = "filter: title 2222"
        await screen.until(lambda text: shown in text and "title 1111" not in text and "joined" not in text)
        await pilot.press("escape")
        await screen.until(lambda text: "title 1111" in text and "filter:" not in text)
        seen = []
        for _ in range(4):
            seen.append(screen.app.focused.id if screen.app.focused else None)
            await pilot.press("tab")
        assert seen == ["ranks", "queue", "workers", "tail"]
        await pilot.press("q")
        assert screen.app.return_code == 0


async def test_text_of_others_is_neither_obeyed_nor_read_as_markup(server: EmbeddedServer, home: Path) -> None:
    async with a_screen(server) as screen:
        bold = msgspec.structs.replace(proposal(T9), title=f"[bold]loud[/bold] {HOSTILE}", rationale=HOSTILE)
        await screen.say(bold, request("r9", T9), finish("r9", T9, 9.0), NotePosted(channel="c", text=f"[b]{HOSTILE}"))
        text = await screen.until(lambda text: "[b]" in text and "[bold]" in text)
        await screen.pilot.press("end", "enter")
        text += await screen.until(lambda text: f"proposal {T9[:10]}" in text)
        assert not {c for c in text if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e")}


async def test_a_server_that_goes_away_is_waited_for(server: EmbeddedServer, home: Path) -> None:
    async with a_screen(server) as screen:
        await server.stop()
        await screen.until(lambda text: "DISCONNECTED" in text)
        await server.ensure()
        await screen.until(lambda text: "DISCONNECTED" not in text)
        await screen.say(NotePosted(channel="general", text="back again"))
        await screen.until(lambda text: "back again" in text and "seq 25" in text)


def test_a_bar_tells_a_share() -> None:
    assert [bar(share) for share in (0.0, 0.5, 1.0)] == ["░░░░░░░░   0%", "████░░░░  50%", "████████ 100%"]


def test_on_a_real_terminal_it_shows_the_champion_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    async def fill(url: str) -> None:
        async with connect(url) as hub:
            bus = await hub.arena("a", create=True)
            for author, event in HISTORY:
                await bus.post(Post.new(author, event))

    with serving(tmp_path / "home") as url:
        anyio.run(fill, url)
        for key in ("q", "\x03"):
            with Terminal("top") as terminal:
                terminal.until(f"champion {T2[:10]} 1.5000")
                terminal.press(key)
                code, drawn = terminal.end()
            assert (code, "Traceback" in drawn) == (ExitCode.OK, False)
            assert drawn.rindex("\x1b[?1049l") > drawn.rindex("\x1b[?1049h")  # the alternate screen is left
        with Terminal("top") as terminal:
            terminal.until(f"champion {T2[:10]} 1.5000")
            terminal.process.terminate()
            code, drawn = terminal.end()
        assert (code, "Traceback" in drawn) == (ExitCode.OK, False)
        assert drawn.rindex("\x1b[?1049l") > drawn.rindex("\x1b[?1049h")
    assert settings.server_dir(tmp_path / "home").is_dir()


def test_without_textual_it_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "textual.py").write_text("raise ModuleNotFoundError(\"No module named 'textual'\", name='textual')\n")
    with Terminal("top", PYTHONPATH=str(tmp_path)) as terminal:
        code, drawn = terminal.end()
    assert (code, drawn) == (
        ExitCode.BAD_INPUT,
        "mesh: mesh top needs textual, which is not installed: pip install 'mesh-swarm[top]'\r\n",
    )


@pytest.mark.parametrize("words", [["top"]])
def test_into_a_pipe_it_says_what_prints(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mesh_cli", *words], capture_output=True, timeout=300, check=False, env={**os.environ}
    )
    assert (done.returncode, done.stdout) == (ExitCode.BAD_INPUT, b"")
    assert done.stderr == b"mesh: mesh top needs a terminal; mesh status, leaderboard and tail print to a pipe\n"


async def test_the_clock_may_call_once_more_when_the_panes_are_gone(server: EmbeddedServer, home: Path) -> None:
    async with a_screen(server) as screen:
        await screen.pilot.press("q")
    screen.app.look()
