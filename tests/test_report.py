"""The report: what it says of logs of every kind, that it is whole and harmless, and the command that writes it."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from analytics.projection import Projection
from analytics.report.code_diff import MAX_LINES, Diff, diff_of, knob_words
from analytics.report.data import ReportData
from analytics.report.document import document
from analytics.report.headline import headline
from analytics.report.markdown import markdown
from analytics.report.page import html
from analytics.report.progress import NARROW, png, svg
from analytics.report.queries import report_data
from analytics.report.scale import LABELS, labelled, score_range, spread
from analytics.sql_server import SqlServer
from mesh import events as e
from mesh.errors import BadInput
from mesh.sql_protocol import Query
from mesh_cli.exit import ExitCode
from tests.support.arenas import write_arena
from tests.support.folding import folded
from tests.support.history import HISTORY, T1, T2, T3, finish, opened, proposal, request
from tests.support.research import Research
from tests.test_cli import Done, Lab, Mesh, fill, mesh, refused, serving

__all__ = ["mesh"]
EVIL = "<script>alert(1)</script> \x1b[31m $x_ | `b` [a](javascript:b) \u202e 漢字 & \x00"


async def facts_in(path: Path) -> ReportData:
    projection = Projection.open(path)
    try:
        return await gathered(SqlServer(projection))
    finally:
        projection.close()


async def gathered(queries: SqlServer) -> ReportData:
    async def ask(sql: str) -> list[list[object]]:
        return (await queries.answer(Query(sql, max_rows=100_000, timeout_s=60))).rows

    return await report_data(ask, "a")


async def facts_of(events: list[tuple[str, e.AnyEvent]], path: Path) -> ReportData:
    async with folded(path, events) as queries:
        return await gathered(queries)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """A log of 2,500 runs."""
    return anyio.run(facts_in, Research(2500).fold(tmp_path_factory.mktemp("many") / "a.duckdb"))


def page_of(facts: ReportData, diffs: dict[str, Diff] | None = None) -> str:
    return html(document(facts, diffs or {}, "0"), *((svg(facts), svg(facts, NARROW)) if facts.runs else ("",)))


def text_of(page: str) -> str:
    return re.sub(r"<[^>]+>", " ", page[page.index("<body>") :])


class Tags(HTMLParser):
    """The elements of a page, and the attributes that could load or run something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.loads: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.loads |= {
            f"{name}={(value or '')[:11]}" for name, value in attrs if name in ("href", "src", "xlink:href", "srcset")
        }
        self.loads |= {name for name, _ in attrs if name.startswith("on")}


async def test_the_headline_says_from_where_to_where_at_what_price(tmp_path: Path) -> None:
    facts = await facts_in(Research(80).fold(tmp_path / "a.duckdb"))
    said = headline(facts)
    found = re.fullmatch(
        r"From (\d\.\d+) to (\d\.\d+) ± (0\.\d+) \(−(\d+) %\) in (\d+) runs, ([\d.]+) worker-minutes, "
        r"(\d+) fresh seeds; noise sd (0\.\d+); \$(\d+\.\d\d)\.",
        said,
    )
    assert found, said
    begin, mean, width, change, runs, minutes, seeds, sd, usd = map(float, found.groups())
    assert facts.champion is not None
    assert facts.baseline.mean == pytest.approx(begin, abs=1e-3)
    assert facts.champion.value.mean == pytest.approx(mean, abs=1e-3)
    assert change == round(100 * (begin - mean) / begin)
    assert (runs, seeds) == (len(facts.runs), facts.champion.value.fresh)
    assert minutes == pytest.approx(sum(run.seconds for run in facts.runs) / 60, abs=0.1)
    assert 0.01 < sd < 0.04
    assert width == pytest.approx(1.96 * sd / seeds**0.5, abs=2e-3)
    assert usd == pytest.approx(
        0.01 * runs + 0.002 * sum(k.proposals for k in facts.kinds if k.how == "model"), abs=0.01
    )


async def test_greater_is_better_where_the_arena_says_so(tmp_path: Path) -> None:
    facts = await facts_in(Research(80, maximize=True, begin=0.5).fold(tmp_path / "a.duckdb"))
    assert re.match(r"From 0\.\d+ to [01]\.\d+ ± 0\.\d+ \(\+\d+ %\) in", headline(facts))
    gains = [promotion.gain for promotion in facts.promotions[1:]]
    assert gains
    assert all(gain is not None and gain > 0 for gain in gains)
    assert "higher is better" in svg(facts)


async def test_an_exact_metric_needs_no_interval_and_no_seeds(tmp_path: Path) -> None:
    facts = await facts_in(Research(60, exact=True).fold(tmp_path / "a.duckdb"))
    assert "the metric is taken as exact on the same cases, and says nothing about others" in headline(facts)
    assert "fresh seed" not in headline(facts)
    assert "±" not in headline(facts)
    assert "a score needs no confirmation" in text_of(page_of(facts))


async def test_an_arena_without_any_run_says_so_in_every_section(tmp_path: Path) -> None:
    facts = await facts_of([("op", opened())], tmp_path / "a.duckdb")
    page = page_of(facts)
    assert "<svg" not in page
    for words in (
        "No run has finished yet; 0 proposals so far.",
        "There is no picture yet: no run has finished.",
        "No promotion yet: no search run has finished.",
        "there is no champion.",
        "Noise is not measured yet",
        "No claimed score was tested on fresh seeds yet.",
        "Nothing has been spent yet.",
        "There is no proposal yet.",
        "No critic has judged a proposal yet.",
        "No dead end is known yet",
    ):
        assert words in text_of(page), words
    assert png(facts, "title", "headline").startswith(b"\x89PNG\r\n\x1a\n")


async def test_without_a_champion_the_best_score_is_called_unproven(tmp_path: Path) -> None:
    events = [*HISTORY[:4], ("ann", proposal(T2, T1)), ("cur", request("r1", T2)), ("w", finish("r1", T2, 0.5))]
    facts = await facts_of(events, tmp_path / "a.duckdb")
    assert headline(facts).startswith(
        "No promotion yet: the best single score is 0.5000, not confirmed, after 1 run, 2.0 worker-seconds; "
    )
    assert "none of 1 search run led to a confirmed improvement" in text_of(page_of(facts))


async def test_a_champion_without_a_fresh_seed_is_a_claim(tmp_path: Path) -> None:
    facts = await facts_of(HISTORY, tmp_path / "a.duckdb")
    assert headline(facts).startswith("The champion scores 1.5")
    assert "claimed but not confirmed on fresh seeds, after 4 runs" in headline(facts)
    assert "price of the workers not known" in headline(facts)


async def test_an_arena_that_was_never_opened_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="arena a was never opened: there is nothing to report"):
        await facts_of([("ann", proposal(T1))], tmp_path / "a.duckdb")


async def test_words_of_others_become_neither_markup_nor_commands(tmp_path: Path) -> None:
    spec = replace(opened().spec, summary=EVIL, objective=replace(opened().spec.objective, metric=EVIL))
    bad = replace(proposal(T2, T1), title=EVIL, rationale=EVIL, origin=e.Origin(how="model", name=EVIL))
    bad = replace(bad, knobs=(e.KnobChange(file=EVIL, name=EVIL, old=EVIL, new=EVIL),))
    crash = e.Failed(reason="crash", message=EVIL)
    block = e.CritiquePosted(target=T3, verdict="block", rule=EVIL)
    events: list[tuple[str, e.AnyEvent]] = [
        ("op", replace(opened(), spec=spec)),
        *HISTORY[1:4],
        ("ann", bad),
        *HISTORY[5:18],
        ("w", replace(finish("r4", T3, crash), worker_class=EVIL)),
        ("cid", block),
        *HISTORY[19:],
    ]
    facts = await facts_of(events, tmp_path / "a.duckdb")
    diff = diff_of({"a": b"1"}, {"a": EVIL.encode(), EVIL: b"2"})
    page = page_of(facts, {T2: diff})
    assert page.count("alert(1)") > 8
    tags = Tags(page)
    assert "script" not in tags.names
    assert {load.partition("=")[0] for load in tags.loads} <= {"xlink:href"}
    assert all(load.startswith("xlink:href=#") for load in tags.loads)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", page.replace("\n", ""))
    assert ET.fromstring(svg(facts)).tag.endswith("svg")
    told = markdown(document(facts, {T2: diff}, "0"))
    prose = "\n".join(line for line in told.splitlines() if not line.startswith("    "))
    assert "alert(1)" in prose
    assert not re.search(r"(?<!\\)[<`\[]|\x1b|\u202e", prose)
    assert png(facts, EVIL, EVIL).startswith(b"\x89PNG")


async def test_the_same_facts_give_the_same_bytes(tmp_path: Path) -> None:
    facts = await facts_in(Research(60).fold(tmp_path / "a.duckdb"))
    again = await facts_in(Research(60).fold(tmp_path / "b.duckdb"))
    assert page_of(facts) == page_of(again)
    assert png(facts, "title", "headline") == png(again, "title", "headline")


def test_a_champion_that_was_measured_in_a_slow_hour_is_not_just_called_worse(many: ReportData) -> None:
    assert many.champion is not None
    for chance, words in (
        (0.999, "by runs of other times (side by side, when promoted: chance to be better "),
        (0.6, "in"),
    ):
        slow = replace(many.champion, p_better=chance, value=replace(many.champion.value, mean=99.0))
        said = headline(replace(many, promotions=[*many.promotions[:-1], slow]))
        assert re.search(rf", which is worse,? {re.escape(words)}", said), said


def test_the_page_needs_nothing_else_and_stays_small_with_many_runs(many: ReportData) -> None:
    page = page_of(many)
    tags = Tags(page)
    assert "script" not in tags.names
    assert "link" not in tags.names
    assert {load for load in tags.loads if not load.startswith("xlink:href=#")} == {"xlink:href=data:image/"}
    assert not re.search(r"url\((?!#)|@import", page)
    assert len(page) < 600_000
    assert page.count("<circle") + page.count("<use") < 3000
    assert "@media print" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"#(111213|606162|d7d8d9|fefefd)", page)


def test_the_picture_tells_lanes_and_failures_apart(many: ReportData) -> None:
    drawn = svg(many)
    count = {reason: sum(run.reason == reason for run in many.runs) for reason in ("crash", "timeout", "killed")}
    assert count["crash"] > 5
    for words in (
        f"crash ({count['crash']})",
        f"timeout ({count['timeout']})",
        f"stopped early ({count['killed']})",
        f"control ({sum(run.lane == 'control' for run in many.runs)})",
        "champion's mean, 95 % interval",
        "best single score",
    ):
        assert words in drawn, words


def test_a_png_can_be_opened_and_is_wide(many: ReportData) -> None:
    image = pytest.importorskip("matplotlib.image")
    pixels = image.imread(io.BytesIO(png(many, "title", "headline")), format="png")
    height, width, _ = pixels.shape
    assert (width, 700 < height < 1400) == (1650, True)
    assert len({tuple(pixel) for pixel in pixels[height // 2, ::3].tolist()}) > 5


def test_tables_say_what_they_leave_out(many: ReportData) -> None:
    crowd = [replace(many.promotions[0], number=n) for n in range(1, 213)]
    page = page_of(replace(many, promotions=crowd, steps=[replace(many.steps[0], proposal=str(n)) for n in range(80)]))
    assert "152 promotions between the first and the last 30 are left out." in page
    assert "… and 50 earlier steps." in page
    words = [["crash", f"message {n}", 1] for n in range(40)]
    assert "… and 28 more" in page_of(replace(many, failures=words))


def test_outcomes_count_every_run_once(many: ReportData) -> None:
    page = text_of(page_of(many))
    assert re.search(rf"all .*\s{len(many.runs):,}\s", page)
    assert f"{sum(run.seconds for run in many.runs):,.0f} of them on a GPU" in page


def test_neither_an_outlier_nor_the_beginning_squashes_the_picture(many: ReportData) -> None:
    low, high = score_range(many)
    champion = many.promotions[-1].value
    assert champion.low is not None
    assert champion.high is not None
    assert low < champion.low < champion.high < high
    forged = [replace(many.runs[-1], value=value, lane="explore", reason="") for value in (-1e300, 1e300, -50.0, 90.0)]
    odd = replace(many, runs=[*many.runs, *forged])
    assert score_range(odd) == pytest.approx((low, high), abs=0.3)
    assert "↓ 2 below" in svg(odd)
    # A champion is never cut off, however far it is from the others.
    far = replace(many.promotions[0], value=replace(many.promotions[0].value, mean=many.goal.sign * -500.0))
    low, high = score_range(replace(many, promotions=[far, *many.promotions[1:]]))
    assert low < many.goal.sign * -500.0 < high


def test_labels_keep_their_order_and_distance(many: ReportData) -> None:
    assert spread([0.0, 0.0, 1.0, 50.0, 99.0, 100.0], 5.0, 0.0, 100.0) == [0.0, 5.0, 10.0, 50.0, 95.0, 100.0]
    assert spread([9.0] * 5, 5.0, 0.0, 10.0) == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert spread([], 5.0, 0.0, 10.0) == []
    crowd = [replace(many.promotions[0], number=n, gain=float(n % 7)) for n in range(1, 60)]
    shown = [promotion.number for promotion in labelled(crowd)]
    assert len(shown) == LABELS
    assert (shown[0], shown[-1], shown) == (1, 59, sorted(shown))
    assert {n for n in range(2, 59) if n % 7 == 6} < set(shown)


def test_scores_that_the_candidate_said_itself_are_marked(many: ReportData) -> None:
    own = replace(many, runs=[replace(run, self_reported=True) for run in many.runs])
    own = replace(own, promotions=[replace(p, value=replace(p.value, self_reported=True)) for p in many.promotions])
    assert "scores are self-reported" in headline(own)
    assert "* self-reported: the candidate" in page_of(own)
    assert f"{own.promotions[-1].value.mean:.4f}* ±" in page_of(own)
    assert "self-reported" not in page_of(many)


def test_changes_are_the_lines_that_differ(tmp_path: Path) -> None:
    old = {"a.py": b"x = 1\n-- y\nz = 3\n", "gone": b"1\n", "same": b"same"}
    new = {"a.py": b"x = 1\n++ y\nz = 3\n", "data": b"\xff\x00", "same": b"same", "big": b"x" * 300_000}
    assert diff_of(old, new).lines == (
        ("@", "a.py"),
        ("-", "-- y"),
        ("+", "++ y"),
        ("@", "big (new)"),
        ("@", "0 → 300,000 bytes, too large to compare"),
        ("@", "data (new)"),
        ("@", "0 → 2 bytes of binary data"),
        ("@", "gone (deleted)"),
        ("-", "1"),
    )
    long = diff_of({}, {"a": b"line\n" * 100})
    assert (len(long.lines), long.left_out) == (MAX_LINES, 101 - MAX_LINES)
    assert knob_words(e.KnobChange(file="f", name="LR", old=3e-4, new=1e-3)) == "LR 0.0003 → 0.001"
    assert knob_words(e.KnobChange(file="f", name="LR", new="a")) == "LR nothing → a"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("lab") / "home"
    with serving(home) as url:
        yield Lab(home, url, *anyio.run(fill, home, url, write_arena(home.parent / "arena")))


def test_the_command_writes_each_format_and_says_the_headline(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    for name, begins in (("r.html", b"<!doctype html>"), ("r.PNG", b"\x89PNG"), ("r.md", b"# tiny")):
        done = mesh("report", "-o", tmp_path / name)
        assert (done.code, done.out) == (0, f"{tmp_path / name}\n")
        assert done.err.startswith(
            "From 0.7500 to 0.2500 (−67 %), claimed but not confirmed on fresh seeds, in 2 runs, 4.0 worker-seconds; "
        )
        assert (tmp_path / name).read_bytes().startswith(begins)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.PNG", "r.html", "r.md"]
    page = (tmp_path / "r.html").read_text()
    assert "train.py" in page
    assert re.search(r"<ins>\+ HEIGHT = 0.5", page)
    assert "\x1b" not in page


def test_a_report_goes_to_standard_output_and_back_in_time(lab: Lab, mesh: Mesh) -> None:
    done = mesh("report", "-o", "-")
    assert done.out.startswith("<!doctype html>")
    early = mesh("report", "-o", "-", "--to-seq", "12")
    assert "as of entry 12 of its log" in early.out
    assert early.err.startswith("No promotion yet")
    assert not done.err.startswith("No promotion yet")


def test_what_cannot_be_written_is_one_sentence(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "taken.md").mkdir()
    for words, sentence in (
        (["-o", "r.pdf"], r"report r\.pdf has an unknown format; use a name that ends in \.html, \.png or \.md"),
        (["-o", tmp_path / "no" / "r.md"], r"r\.md cannot be written: there is no folder .*no"),
        (["-o", tmp_path / "taken.md"], r"taken\.md is a folder; name a file"),
        (["--to-seq", 10_000], r"--to-seq is 10000, but the log ends with \d+"),
        (["--to-seq", 0], r"--to-seq. Must be >= 1"),
    ):
        refused(mesh("report", *words), ExitCode.BAD_INPUT, sentence)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.md"]


def test_without_matplotlib_there_is_markdown_still(
    lab: Lab, mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("r.html", "r.png"):
        refused(mesh("report", "-o", tmp_path / name), ExitCode.BAD_INPUT, "a picture needs matplotlib: pip install")
    assert mesh("report", "-o", tmp_path / "r.md").code == 0


def test_a_projector_that_runs_is_asked(lab: Lab, mesh: Mesh, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "analytics", "--nats", lab.url, "--home", str(lab.home)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as projector:
        try:
            assert projector.stderr is not None
            assert "is up to date" in projector.stderr.readline()
            done: Done = mesh("report", "-o", tmp_path / "r.md")
            assert (done.code, done.out) == (0, f"{tmp_path / 'r.md'}\n")
        finally:
            projector.terminate()
