"""Parts of the page that need no server: what is chosen of a large DAG, diffs, and its own files."""

import hashlib
import re
from pathlib import Path

import pytest

from analytics.web import event_stream
from analytics.web.lineage import lineage
from analytics.web.proposal import diff_lines
from analytics.web.view_cache import State, Table
from mesh.events import Origin, ProposalPosted, ProposalPromoted
from mesh.testing import Log, git_hash
from mesh.web import access

PROPOSALS = [f"{number:040x}" for number in range(60)]
STATIC = Path(event_stream.__file__).parent / "static"


def test_a_large_dag_is_cut_to_ancestry_best_and_latest() -> None:
    log = Log()
    log.open()
    log.propose(PROPOSALS[0])
    for number in range(1, 60):
        parent = PROPOSALS[number - 1 if number < 10 else 0]
        event = ProposalPosted(
            tree=PROPOSALS[number], commit=git_hash("c"), parents=(parent,), title="t", origin=Origin(how="human")
        )
        log.add("ann", event)
    log.add("curator", ProposalPromoted(proposal=PROPOSALS[5], round=1, mean=1.0))
    best = [[PROPOSALS[40], 1.0, 0], [PROPOSALS[41], 2.0, 0]]
    state = State(standing=Table(["proposal", "mean", "fresh"], best))
    found = lineage(log.board, state, 20)
    ids = [node["id"] for node in found["nodes"]]
    assert len(ids) == 20
    assert found["total"] == 60
    assert {PROPOSALS[number] for number in (5, 4, 3, 2, 1, 0, 40, 41, 59, 58)} <= set(ids)
    assert ids == sorted(ids)
    assert {node["id"]: node["state"] for node in found["nodes"]} | {
        PROPOSALS[5]: "champion",
        PROPOSALS[40]: "claimed",
    } == {node["id"]: node["state"] for node in found["nodes"]}
    assert len(lineage(log.board, state, 1000)["nodes"]) == 60


def test_a_diff_names_what_is_not_compared() -> None:
    old = {"a.py": b"x = 1\n", "gone": b"1\n", "blob": b"\0"}
    new = {"a.py": b"x = 2\n", "new": b"2\n", "blob": b"\0\0", "same": b""}
    lines = diff_lines(old, new)
    assert [line for line in lines if "x =" in line] == ["-x = 1", "+x = 2"]
    assert lines[lines.index("--- a/blob") + 2] == "  (not compared: a large or binary file)"
    assert "+++ /dev/null" in lines
    assert "--- /dev/null" in lines


def test_the_page_asks_nobody_else_and_never_parses_text_as_html() -> None:
    own = [path for path in STATIC.iterdir() if path.is_file()]
    assert len(own) > 10
    for path in own:
        text = path.read_text()
        addresses = set(re.findall(r"https?://[^\"'\s)>]+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), path
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), (
            path
        )
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)


def test_what_is_vendored_is_what_the_table_says() -> None:
    folder = STATIC / "vendor"
    table = (folder / "VENDORED.md").read_text()
    rows = re.findall(r"\| `(\S+)` \| \S+ \| [\d.]+ \| MIT \(`(\S+)`\) \| `(\w{64})` \|", table)
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name, _, _ in rows} == {
        name: digest for name, _, digest in rows
    }
    assert all((folder / licence).read_text() for _, licence, _ in rows)
    assert {path.name for path in folder.iterdir() if path.suffix in (".js", ".mjs", ".css")} == {n for n, _, _ in rows}


@pytest.mark.parametrize(
    ("host", "alone"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box.lan", False)]
)
def test_loopback_is_told_from_what_others_reach(host: str, alone: bool) -> None:
    assert access.is_loopback(host) is alone


THEMES = {
    "light": r":root \{(.*?)\}",
    "dark": r":root\[data-theme=\"dark\"\] \{(.*?)\}",
    "dark by the system": r":root:not\(\[data-theme=\"light\"\]\) \{(.*?)\}",
}
TEXT = [
    *((ink, paper) for ink in ("ink", "muted") for paper in ("bg", "panel", "hover")),
    *(("accent", paper) for paper in ("panel", "hover")),
    *((ink, "hover") for ink in ("good", "bad")),
    *(("gold-ink", paper) for paper in ("bg", "gold-bg")),
    *((ink, "gold-bg") for ink in ("ink", "muted")),
    *((ink, paper) for ink in ("ink",) for paper in ("plus", "minus")),
    *(("on-gold", "gold"), ("panel", "accent"), ("bad", "panel")),
]
"""Colours of text and of what is behind it."""
MARKS = ["dot", "gold", "bad", "faint", "muted", "accent"]
"""Colours of what is drawn on a panel."""


def luminance(colour: str) -> float:
    """The relative luminance of a colour, by WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    dark, light = sorted((luminance(one), luminance(two)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_marks_have_the_contrast_of_wcag_aa(theme: str) -> None:
    found = re.search(THEMES[theme], (STATIC / "style.css").read_text(), re.DOTALL)
    assert found
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", found[1]))
    text = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in TEXT}
    marks = {mark: contrast(colours[mark], colours["panel"]) for mark in MARKS}
    assert {pair: round(ratio, 2) for pair, ratio in text.items() if ratio < 4.5} == {}
    assert {mark: round(ratio, 2) for mark, ratio in marks.items() if ratio < 3} == {}
