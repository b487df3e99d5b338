"""Baseline, champion, interval and gain are the same numbers wherever they are named, in the digits that they need."""

import contextlib
import io
import random
import re
import sys
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from analytics.report.formatting import percent_change
from mesh.board import Board
from mesh.jetstream import connect
from mesh.leaderboard import Ranking
from mesh.server import EmbeddedServer
from mesh.testing import SPEC, git_hash
from mesh_cli.live.headline import progress_line
from mesh_cli.live.summary import summary
from mesh_cli.proposals.diff import comparison, lines_of
from mesh_cli.render.colour import Ink
from tests.support.page import Visit, browsing, web
from tests.test_exactness import scored
from tests.test_web_remarks import Told

pytestmark = pytest.mark.timeout(900)


def noisy(level: float, gain: float, sd: float, *, direction: str = "minimize") -> Told:
    """A log whose champion is better by so much, where seeds differ; others are between it and the baseline."""
    rng = random.Random(level)
    log = Told(replace(SPEC, objective=replace(SPEC.objective, direction=direction, noise="measured")))
    log.open(tree="base")
    log.propose("base", how="baseline")
    scored(log, "base", *(rng.gauss(level, sd) for _ in range(4)))
    log.promote("base", mean=level)
    sign = -1 if direction == "minimize" else 1
    for place, name in enumerate(("other", "second", "best")):
        log.propose(name)
        scored(log, name, *(rng.gauss(level + sign * gain * (place + 1) / 3, sd) for _ in range(4 + 4 * place)))
    log.promote("best", mean=level + sign * gain)
    return log


class Truth:
    """The numbers of a board: what every output must name."""

    def __init__(self, board: Board) -> None:
        ranking = Ranking(board)
        base, best = ranking.of(git_hash("base")), ranking.of(git_hash("best"))
        assert base
        assert best
        assert best.low is not None
        assert best.high is not None
        self.places, self.base, self.mean = ranking.places, base.mean, best.mean
        self.low, self.high, self.half = best.low, best.high, (best.high - best.low) / 2
        beside = ranking.gain_side_by_side(git_hash("best"), git_hash("base"))
        self.compared = ranking.gain(best.mean, base.mean) if beside is None else beside
        self.share = percent_change((best.mean - base.mean) / abs(base.mean))

    def named_in(self, text: str, *names: str) -> None:
        """Look for these numbers in a text, in the digits that they need."""
        plain = text.replace("−", "-").replace("–", "-")
        numbers = {word.replace(",", "") for word in re.findall(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", plain)}
        for name in names:
            value = getattr(self, name)
            off = 0.51 * 10.0**-self.places if name != "half" else 0.06 * value
            decimals = self.places if name != "half" else 0
            near = [word for word in numbers if abs(float(word) - value) <= off]
            near = [word for word in near if len(word.partition(".")[2]) >= decimals or "e" in word]
            assert near, f"{name} {value!r} with {self.places} decimals is not in:\n{text}"


async def mesh(*words: object) -> str:
    """Run a command about the arena, and return all that it prints."""
    done = await anyio.run_process([sys.executable, "-m", "mesh_cli", *map(str, words), "--arena", "a"], check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode() + done.stderr.decode()


@pytest.mark.parametrize(
    "log",
    [noisy(12345.0, 0.004, 0.0007), noisy(0.9312, 0.021, 0.004, direction="maximize"), noisy(4.2e-3, 9e-4, 1.2e-4)],
    ids=["large", "usual", "small"],
)
async def test_every_output_names_the_same_numbers(
    log: Told, home: Path, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESH_NATS", server.url)
    monkeypatch.setenv("MESH_HOME", str(home))
    truth = Truth(log.board)
    async with connect(server.url) as hub:
        bus = await hub.arena("a", create=True)
        for post in log.posts:
            await bus.post(post)
        bounds = ("base", "mean", "low", "high")
        every = (*bounds, "compared")
        truth.named_in(await mesh("leaderboard"), *every)
        truth.named_in(await mesh("show", "champion"), *every)
        compared = comparison(log.board, git_hash("base"), git_hash("best"), {}, {})  # the log has no code
        truth.named_in("\n".join(lines_of(log.board, compared, stat=True, ink=Ink(on=False))), *bounds, "compared")
        truth.named_in(await mesh("status"), *every)
        truth.named_in(progress_line(log.board, Ranking(log.board), 9.0, None), "mean", "half", "compared")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            summary(log.board, 0, Path("folder"))
        truth.named_in(printed.getvalue(), *bounds, "half", "compared")
        report = home.parent / "report.md"
        said = await mesh("report", "-o", report)
        truth.named_in(said.replace("From ", ""), "base", "mean", "half")
        assert truth.share in said
        query = "SELECT mean, low, high FROM leaderboard WHERE proposal = '{}'"
        for tree, values in (("best", (truth.mean, truth.low, truth.high)), ("base", (truth.base,))):
            rows = (await mesh("sql", query.format(git_hash(tree)), "--csv")).splitlines()
            found = [float(word) for word in rows[1].split(",")]
            assert found[: len(values)] == pytest.approx(values, rel=1e-12)
        async with web(home, server.url, "a") as address, browsing() as browser, Visit(browser, address) as visit:
            await visit.open()
            await visit.tab.locator("#facts").get_by_text("vs baseline").wait_for()
            truth.named_in(await visit.tab.locator("#facts").inner_text(), "base", "mean", "half")
            truth.named_in(await visit.tab.locator("#leaderboard").inner_text(), "base", "mean")
