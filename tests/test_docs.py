"""The documentation names what exists: paths, modules, commands, settings, sentences. The site asks no other host."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

import mesh
from gpu_worker.budget import score_budget, trial_budget
from gpu_worker.launch import Site, score_request, trial_request
from gpu_worker.machine import Slot
from gpu_worker.sandbox.tiers import Sandbox
from mesh import arena, config
from mesh.events import RunRequested
from mesh.knobs import find_knobs
from mesh.spec import KnobsSpec
from mesh.testing import git_hash
from mesh_cli.__main__ import app
from tests.support.page import chromium

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]}
PACKAGES = ("mesh", "agents", "gpu_worker", "analytics", "gateway", "mesh_client", "mesh_cli")
FOLDERS = (*PACKAGES, "arenas", "benchmarks", "deploy", "docs", "examples", "tests")
RETIRED = r"\b(anew|in vain|whoever|bears? out|lived through|one's own|unheld)\b"


def cells(page: str, heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading, without its first two lines."""
    section = re.split(r"\n#+ ", TEXTS[page].partition(f"{heading}\n")[2])[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("page", TEXTS)
def test_every_path_that_a_page_names_exists(page: str) -> None:
    words = set(re.findall(r"`([\w./-]+)`", TEXTS[page]))
    paths = {word for word in words if word.split("/")[0] in FOLDERS and "/" in word and "/NN_" not in word}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    modules = set(
        re.findall(r"`((?:mesh|agents|gpu_worker|analytics|gateway|mesh_client|mesh_cli)(?:\.[a-z_]+)+)`", TEXTS[page])
    )
    assert [name for name in sorted(modules) if not _is_module(name)] == []


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    is_file = path.is_dir() or path.with_suffix(".py").is_file() or name in ("mesh.toml", "mesh.duckdb")
    return is_file or name.removeprefix("mesh.") in dir(mesh)


@pytest.mark.parametrize("page", TEXTS)
def test_every_command_that_a_page_shows_exists(page: str) -> None:
    code = re.findall(r"^    (.*)$|^(mesh .*)$|`([^`\n]+)`", TEXTS[page], re.MULTILINE)
    lines = [line for groups in code for line in groups if line]
    shown = {match[1] for line in lines if (match := re.match(r"(?:\S+=\S+ )?mesh ([a-z]+)\b", line))}
    assert sorted(shown - set(app)) == []
    started = {match[1] for line in lines if (match := re.search(r"python -m ([a-z_.]+)", line))}
    assert [name for name in sorted(started) if not _is_module(name) and name != "my_pkg.mod"] == []


@pytest.mark.parametrize("page", TEXTS)
def test_a_page_is_written_in_plain_words(page: str) -> None:
    assert re.findall(RETIRED, TEXTS[page], re.IGNORECASE) == []


def test_the_readme_is_short_and_its_tree_is_there() -> None:
    text = TEXTS["README.md"]
    tree = text.partition("## Where things are")[2].split("```")[1]
    folder, missing = ROOT, []
    for line in tree.strip().splitlines():
        name = line.split()[0]
        folder = folder if line.startswith("  ") else ROOT / name
        missing += [] if (folder / name if line.startswith("  ") else folder).exists() else [line]
    assert (missing, len(text.splitlines()) <= 150) == ([], True)
    assert len({line.rindex("  ") for line in tree.strip().splitlines()}) <= 2


def test_pictures_are_small() -> None:
    assert [path.name for path in (DOCS / "images").iterdir() if path.stat().st_size > 150_000] == []


def test_the_table_of_settings_is_what_the_code_says() -> None:
    rows = {row[0].strip("`"): row for row in cells("docs/cli.md", "## Settings")}
    assert list(rows) == list(config.KEYS)
    for name, key in config.KEYS.items():
        assert rows[name][1]
        assert all(f"`{choice}`" in rows[name][1] for choice in key.choices)
        assert not key.default or rows[name][2] == f"`{key.default}`"


def test_the_environment_of_a_trial_is_what_the_worker_gives(tmp_path: Path) -> None:
    spec = arena.load_arena(ROOT / "arenas" / "nanolm")
    request = RunRequested(
        run="r", lane="explore", proposal=git_hash("p"), commit=git_hash("c"), seed=1, budget_s=1, deadline_s=2
    )
    slot = Slot(0, "cpu", 1)
    site = Site(spec, request, tmp_path, slot, Sandbox("E"), tmp_path, "t", 5, stage="smoke")
    scorer = score_request(site, score_budget(spec, slot))
    assert scorer.beside is not None
    launches = [trial_request(site, trial_budget(spec, 1.0, slot, sees_gpu=False)).launch, scorer.launch, scorer.beside]
    given = [{name for name in launch.env if name.startswith("MESH_")} for launch in launches]
    rows = cells("docs/reference/environment.md", "# Environment of a trial")
    listed = [{row[0].strip("`") for row in rows if row[column] != "no"} for column in (1, 2, 3)]
    assert listed == given
    assert all(row[4] for row in rows)


KNOBS = {
    "# mesh: 1e-4..3e-2 log": ("0.001", (1e-4, 3e-2, True, ())),
    "# mesh: 1..6": ("2", (1.0, 6.0, False, ())),
    "# mesh: 0.0..6": ("2", (0.0, 6.0, False, ())),
    "# mesh: choices gelu relu": ("'gelu'", (0.0, 0.0, False, ("gelu", "relu"))),
    "# mesh: fixed": ("2", None),
}
GUESSES = {
    "positive whole number": ("64", (16.0, 256.0, True, ())),
    "positive float below 1": ("0.5", (0.05, 1.0, True, ())),
    "positive float from 1 on": ("2.0", (0.2, 20.0, True, ())),
    "`True`, `False`": ("True", (0.0, 0.0, False, (False, True))),
    "zero, negative number, string, longer data": ("-1", None),
}


def test_the_page_of_knobs_is_what_the_explorer_does() -> None:
    tables = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", TEXTS["docs/reference/knobs.md"], re.MULTILINE)
    assert [row[0].strip("`") for row in tables if row[0].startswith("`#")] == list(KNOBS)
    assert [row[0] for row in tables if not row[0].startswith(("`#", "comment", "literal", "-"))] == list(GUESSES)
    for comment, (literal, expected) in {**KNOBS, **GUESSES}.items():
        source = f"X = {literal}  {comment if comment in KNOBS else ''}\n"
        found = find_knobs("a.py", source, KnobsSpec(literals=False))
        assert [(knob.low, knob.high, knob.log, knob.choices) for knob in found] == ([expected] if expected else [])


LITERALS = {
    "whole number from 1 to 11": ("x = 8", (2, 32), 9),
    "whole number from 12 on, `2**19`": ("x = 2**19", (2**17, 2**21), 2**20),
    "fraction between 0.05 and 1": ("x = 0.7", (0.104, 0.979), 0.864),
    "1.0 that is called a share: `subsample=1.0`": ("fit(subsample=1.0)", (0.1, 1.0), 1.0),
    "other positive number": ("x = 2.5", (0.25, 25), 5),
    "number of a table with zeros, negative numbers or more than three numbers": ("x = [0.0, 2.0]", (-1, 1), 0.2),
    "`0.0` of a decay or a penalty": ("f(weight_decay=0.0)", (1e-4, 0.1), 2e-4),
    "`0.0` of a ratio, a momentum or a warmup": ("f(warmup=0.0)", (0, 0.5), 0.05),
    "any other `0.0`": ("x = 0.0", (-0.5, 0.5), 0.1),
    "negative number": ("x = -4.0", (-12, 4), -3),
    "`True`, `False`": ("def f(a=True): pass", (0, 0), False),
    "word of a known set": ("np.pad(x, n, mode='reflect')", (0, 0), "edge"),
}


def test_the_page_of_knobs_gives_other_literals_the_ranges_and_steps_that_they_have() -> None:
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| [^|]+ \|$", TEXTS["docs/reference/knobs.md"], re.MULTILINE)
    assert [row for row in rows if row not in ("literal", "---")] == list(LITERALS)
    for source, ends, stepped in LITERALS.values():
        knob = find_knobs("a.py", source)[0]
        assert (knob.low, knob.high) == pytest.approx(ends, abs=1e-3)
        assert knob.stepped(knob.value, 1) == (
            stepped if isinstance(stepped, str) else pytest.approx(stepped, abs=1e-3)
        )


def test_every_error_that_troubleshooting_quotes_is_one_of_the_product() -> None:
    quoted = re.findall(r"^## `+(.+?)`+$", TEXTS["docs/troubleshooting.md"], re.MULTILINE)
    known = "\n".join(text for package in PACKAGES for path in (ROOT / package).rglob("*.py") for text in _texts(path))
    assert len(quoted) >= 12
    unsaid = [
        sentence
        for sentence in quoted
        if not re.search("[^\n]*".join(map(re.escape, filter(str.strip, re.split(r"<[^>]*>", sentence)))), known)
    ]
    assert unsaid == [], "these errors of docs/troubleshooting.md are said differently now"


def _texts(path: Path) -> list[str]:
    """The texts of a module, one a line; a value inside of one is nothing."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "\t" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [text.replace("\n", " ") for text in found]


def test_the_glossary_has_one_line_for_each_word_in_order() -> None:
    rows = cells("docs/glossary.md", "# Glossary")
    words = [row[0] for row in rows]
    assert words == sorted(words)
    assert {"arena", "artifact", "champion", "claim", "control run", "critique", "fresh seed", "knob"} <= set(words)
    assert {"lane", "race", "worker class"} <= set(words)
    assert all(len(row) == 2 and row[1].endswith(".") for row in rows)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(DOCS, folder / "docs")
    (folder / "zensical.toml").write_bytes((ROOT / "zensical.toml").read_bytes())
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_the_site_has_every_page_and_no_page_of_it_needs_another_host(site: Path) -> None:
    pages = {str(page.relative_to(DOCS).with_suffix(".html")) for page in PAGES}
    assert pages <= {str(page.relative_to(site)) for page in site.rglob("*.html")}
    nav = (ROOT / "zensical.toml").read_text("utf-8")
    assert [str(p.relative_to(DOCS)) for p in PAGES if f'"{p.relative_to(DOCS)}"' not in nav] == []
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe|source)\b[^>]*?(?:src|href)=\"?(https?:[^\s\">]+)", page.read_text()
        )
        assert loaded == [], page
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )\s*[\"']?(?:https?:)?//", style.read_text()) == [], style


async def test_a_browser_that_reads_the_site_asks_no_other_host(site: Path) -> None:
    asked: list[str] = []
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = await browser.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "tutorial.html", "reference/views.html"):
            await tab.goto((site / name).as_uri())
            await tab.wait_for_load_state("networkidle")
        await browser.close()
    assert len(asked) > 3
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
