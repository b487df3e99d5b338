"""What the pictures of the page say: the champion's mean, its interval and the best score; labels; early stopping."""

import itertools
import re
import time
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mesh.events import Failed, NotePosted, Origin, ProposalPosted, ProposalRetired
from mesh.server import EmbeddedServer
from mesh.testing import git_hash
from tests.support.history import finish, request
from tests.support.page import Visit
from tests.test_web_page import Stage, seconds_until, stage

DRAWN = """async () => {
  const { series } = await import("/static/series.js");
  const state = await (await fetch("/api/state")).json();
  const dots = (await (await fetch("/api/dots")).json()).rows.map(([seq, time, value]) => ({ seq, time, value }));
  const { data, points, range } = series(dots, state.reigns, state.arena.direction === "minimize", "runs");
  return { data, range, rings: points.map(({ reign }, place) => [reign?.proposal, data[6][place]]).filter(([id]) => id),
           standing: state.standing, reigns: state.reigns };
}"""
LABELS = """() => document.getElementById("graph")._cyreg.cy.nodes("[label != '']").map((node) => {
  const box = node.renderedBoundingBox({ includeNodes: false, includeEdges: false, includeOverlays: false,
                                         includeUnderlays: false });
  return [box.x1, box.y1, box.x2, box.y2, node.data("state")];
})"""
MARGIN = 2.5
"""Pixels by which the library's box of a label is larger than the label, on each side."""


async def drawn(visit: Visit) -> dict[str, Any]:
    found: dict[str, Any] = await visit.tab.evaluate(DRAWN)
    return found


async def test_the_bold_line_is_the_champions_mean_and_rings_sit_on_it(home: Path, server: EmbeddedServer) -> None:
    async with stage(home, server, 60) as on, Visit(on.browser, on.address) as visit:
        await visit.open()
        found = await drawn(visit)
        champion = next(row for row in found["standing"] if row["state"] == "champion")
        _, dots, best, low, high, mean, _ = found["data"]
        assert (low[-1], mean[-1], high[-1]) == (champion["low"], champion["mean"], champion["high"])
        assert best[-1] == min(value for value in dots if value is not None) != mean[-1]
        assert len(found["rings"]) == len(found["reigns"]) > 1
        means = {reign["proposal"]: reign["mean"] for reign in found["reigns"]}
        assert found["rings"] == [[proposal, means[proposal]] for proposal, _ in found["rings"]]
        legend = await visit.tab.locator("#progress-legend").inner_text()
        assert "champion's mean, with its 95 % interval" in legend
        assert "best single score" in legend
        assert visit.complaints == []


CIRCLES = """() => document.getElementById("graph")._cyreg.cy.nodes().map((node) => {
  const box = node.renderedBoundingBox({ includeLabels: false, includeEdges: false, includeOverlays: false,
                                         includeUnderlays: false });
  return [box.x1, box.y1, box.x2, box.y2];
})"""


async def test_labels_of_the_lineage_never_overlap(home: Path, server: EmbeddedServer) -> None:
    for_sizes = ((1280, 800), (375, 812))
    async with stage(home, server, 150) as on:
        for width, height in for_sizes:
            async with Visit(on.browser, on.address, width=width, height=height) as visit:
                await visit.open()
                for button in ("Fit", "Show all", "Champion"):
                    await visit.tab.locator("#dag").get_by_role("button", name=button).click()
                    loaded = "document.querySelector('#dag-status').textContent !== 'loading …'"
                    await seconds_until(visit.tab, loaded, time.monotonic())
                    labels = await visit.tab.evaluate(LABELS)
                    assert "champion" in [state for *_, state in labels], (width, button)
                    for one, two in itertools.combinations(labels, 2):
                        across = min(one[2], two[2]) - max(one[0], two[0])
                        down = min(one[3], two[3]) - max(one[1], two[1])
                        assert min(across, down) <= 2 * MARGIN, (width, button, one, two)
                    for label, circle in itertools.product(labels, await visit.tab.evaluate(CIRCLES)):
                        across = min(label[2], circle[2]) - max(label[0], circle[0])
                        down = min(label[3], circle[3]) - max(label[1], circle[1])
                        is_crowded = label[4] == "champion"  # which is shown where no side of it is free, too
                        assert min(across, down) <= 2 * MARGIN or is_crowded, (width, button, label, circle)
                assert visit.complaints == []


async def an_early_stop(on: Stage) -> None:
    """One proposal whose only run was stopped early."""
    tree = "e" * 40
    origin = Origin(how="human")
    proposal = ProposalPosted(tree=tree, commit=git_hash("c"), parents=(git_hash("t"),), title="slow", origin=origin)
    killed = replace(finish("r-slow", tree, 0.0), outcome=Failed(reason="killed", message="worse"), evaluator="")
    await on.say(proposal, replace(request("r-slow", tree), evaluator=""), killed)
    await on.say(ProposalRetired(proposal=tree, round=1, why="not_better"), NotePosted(channel="general", text="end"))


async def test_a_run_that_was_stopped_early_has_not_failed(home: Path, server: EmbeddedServer) -> None:
    async with stage(home, server) as on, Visit(on.browser, on.address) as visit:
        await visit.open()
        facts = visit.tab.locator("#facts")
        failed = re.findall(r"\d+ failed", await facts.inner_text())
        await an_early_stop(on)
        await facts.get_by_text("1 stopped early").wait_for()
        await visit.tab.locator("#activity").get_by_text("stopped the run of eeeeeeeeee early").wait_for()
        assert re.findall(r"\d+ failed", await facts.inner_text()) == failed
        lines = await visit.tab.locator("#activity li", has_text="eeeeeeeeee").all_inner_texts()
        assert [line for line in lines if "fail" in line] == []
        assert visit.complaints == []


LATE = """async () => {
  const { makeProgress } = await import("/static/progress.js?again");
  const progress = makeProgress(() => {});
  const folded = { rows: [[1, 0, 0.5, "t", "r1", "explore"]], as_of: 3 };
  progress.load(folded);
  progress.take({ seq: 5, time: 1, event: { run: "r2", value: 0.4, proposal: "t" } });
  progress.load(folded);
}"""


async def test_a_score_that_the_projector_has_not_folded_yet_stays(home: Path, server: EmbeddedServer) -> None:
    """The page asks for all scores again after a break, while new ones come in."""
    async with stage(home, server, 0) as on, Visit(on.browser, on.address) as visit:
        await visit.open()
        await visit.tab.evaluate(LATE)
        await visit.tab.locator("#progress-status").get_by_text("best single score 0.4000 of 2 scores").wait_for()
        assert visit.complaints == []
