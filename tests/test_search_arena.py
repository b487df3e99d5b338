"""The arena of search: its measure is trec_eval's, its judgments are hidden, and its cheats find nothing."""

import importlib
import json
import lzma
import os
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytrec_eval

from mesh_cli.setup.check_arena import check_arena

HOME = Path(__file__).parents[1] / "arenas" / "search"
MEASURES = {"ndcg": "ndcg_cut_10", "mrr": "recip_rank", "map": "map", "recall_100": "recall_100"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `prepare.py` lays out."""
    out = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, "prepare.py"], cwd=HOME, env=os.environ | {"MESH_OUT": str(out)}, check=True)
    return out


@pytest.fixture
def arena(data: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of the arena, imported as its programs import them."""
    names = ("rank", "score", "prepare")
    monkeypatch.syspath_prepend(str(HOME))
    monkeypatch.setenv("MESH_DATA", str(data / "public"))
    monkeypatch.setenv("MESH_PRIVATE", str(data / "private"))
    return SimpleNamespace(**{name: importlib.import_module(name) for name in names})


def answers(arena: SimpleNamespace, splits: tuple[str, ...], **knobs: Any) -> tuple[list[list[str]], list[Any]]:
    """What the artifact with some values of its knobs finds, and what is judged."""
    before = {name: getattr(arena.rank, name) for name in knobs}
    vars(arena.rank).update(knobs)
    loaded = [arena.score.load(split) for split in splits]
    index = arena.rank.index(loaded[0][0], {})
    queries = [each for _, judged in loaded for each in judged]
    found = [index.search(each.query) for each in queries]
    vars(arena.rank).update(before)
    return found, queries


def trec_eval(found: list[list[str]], relevant: list[dict[str, int]]) -> dict[str, list[float]]:
    """What trec_eval says of each query, which knows scores in place of ranks."""
    run = {str(n): {each: -float(rank) for rank, each in enumerate(answer)} for n, answer in enumerate(found)}
    judge = pytrec_eval.RelevanceEvaluator({str(n): each for n, each in enumerate(relevant)}, set(MEASURES.values()))
    judged = judge.evaluate({name: answer for name, answer in run.items() if answer})
    return {
        ours: [judged[str(n)][theirs] if str(n) in judged else 0.0 for n in range(len(found))]
        for ours, theirs in MEASURES.items()
    }


def test_the_baseline_gets_what_the_readme_says_and_trec_eval_agrees(arena: SimpleNamespace) -> None:
    found, queries = answers(arena, ("search", "confirm"))
    assert len(queries) == 960
    ours = arena.score.metrics(found, queries)
    theirs = {name: statistics.fmean(each) for name, each in trec_eval(found, [q.relevant for q in queries]).items()}
    assert ours == pytest.approx(theirs, abs=1e-9)
    assert round(ours["ndcg"], 4) == 0.4691
    repeated = answers(arena, ("search", "confirm"), TITLE_WEIGHT=3.0)
    assert 0.005 < arena.score.metrics(*repeated)["ndcg"] - ours["ndcg"] < 0.03


def test_every_measure_is_that_of_trec_eval_on_graded_judgments_and_bad_runs(arena: SimpleNamespace) -> None:
    draw = random.Random(1)
    ids = [f"d{n}" for n in range(300)]
    relevant = [
        {each: draw.choice([0, 1, 1, 2, 3]) for each in draw.sample(ids, draw.randint(1, 30))} for _ in range(200)
    ]
    found = [draw.sample(ids, draw.choice([0, 1, 5, 10, 11, 100])) for _ in relevant]
    judged = trec_eval(found, relevant)
    assert [arena.score.ndcg(*each) for each in zip(found, relevant, strict=True)] == pytest.approx(judged["ndcg"])
    assert [arena.score.recall(*each) for each in zip(found, relevant, strict=True)] == pytest.approx(
        judged["recall_100"]
    )
    ours = arena.score.metrics(found, [arena.score.Judged("", each, "") for each in relevant])
    assert ours == pytest.approx({name: statistics.fmean(each) for name, each in judged.items()})


def test_of_an_answer_the_first_of_equal_ids_counts_and_no_id_is_invented(arena: SimpleNamespace) -> None:
    checked, ids = arena.score.checked, {f"d{n}" for n in range(500)}
    assert checked(b'["d1", "d2", "d1"]\n', ids) == ["d1", "d2"]
    assert len(checked(json.dumps(sorted(ids)).encode(), ids)) == 100
    for line in (
        b'["d1", "d501"]',
        b"[1]",
        b"[NaN]",
        b"[null]",
        b'{"ndcg": 1}',
        b'"d1"',
        b"[" * 16_000,
        b'["d1", ',
        b"\xff",
    ):
        with pytest.raises(
            SystemExit, match=r"^search\(\) (must return a list of ids|returned .* not an id of the corpus)"
        ):
            checked(line, ids)


def test_no_public_query_shares_a_page_with_a_private_one_and_no_question_is_in_the_corpus(data: Path) -> None:
    with lzma.open(HOME / "manuals.jsonl.xz", "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    documents = {each["id"]: each for each in read if "id" in each}
    clusters: dict[str, set[str]] = {}
    for each in read:
        if "query" in each:
            clusters.setdefault(each["split"], set()).add(each["cluster"])
            assert set(each["relevant"]) <= documents.keys()
            assert {documents[key]["manual"] for key in each["relevant"]} == {each["manual"]}
    private = clusters["search"] | clusters["confirm"] | clusters["sealed"]
    assert clusters.keys() == {"public", "search", "confirm", "sealed"}
    assert not clusters["public"] & private
    judged = {s: {k for e in read if e.get("split") == s for k in e["relevant"]} for s in clusters}
    assert not judged["public"] & (judged["search"] | judged["confirm"] | judged["sealed"])
    titles = {each["title"] for each in documents.values()}
    assert not [each["query"] for each in read if each.get("query", "").endswith("?") and each["query"] in titles]
    laid_out = "".join(path.read_text() for path in (data / "public").iterdir() if path.name != "corpus.jsonl")
    assert not [e for e in read if e.get("split") == "search" and json.dumps(e["query"]) in laid_out]


def test_prepare_refuses_a_machine_where_trials_can_read_the_index(
    arena: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "postgresql-doc-15" / "html").mkdir(parents=True)
    monkeypatch.setattr(arena.prepare, "DOCS", tmp_path)
    monkeypatch.setenv("MESH_OUT", str(tmp_path / "out"))
    with pytest.raises(SystemExit, match=r"postgresql-doc-15/html holds the index that scores"):
        arena.prepare.main()
    assert not (tmp_path / "out").exists()


def test_stems_are_porters(arena: SimpleNamespace) -> None:
    stems = {
        "caresses": "caress", "ponies": "poni", "cats": "cat", "feed": "feed", "agreed": "agre", "plastered": "plaster",
        "motoring": "motor", "conflated": "conflat", "hopping": "hop", "falling": "fall", "filing": "file", "by": "by",
        "happy": "happi", "relational": "relat", "conditional": "condit", "triplicate": "triplic", "sky": "sky",
        "electrical": "electr", "hopeful": "hope", "goodness": "good", "adjustment": "adjust", "adoption": "adopt",
        "effective": "effect", "rate": "rate", "cease": "ceas", "controll": "control", "roll": "roll",
    }  # fmt: skip
    assert {word: arena.rank.porter(word) for word in stems} == stems


def test_an_index_has_terms_with_the_terms_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HOME.parent))
    terms = importlib.import_module("manuals").index_terms
    sphinx = """<ul><li>string<ul>
        <li><a href="a.html#index-1">literal</a>, <a href="b.html#index-2">[1]</a></li></ul></li></ul>"""
    assert terms(sphinx) == {"string literal": ["a.html#index-1", "b.html#index-2"]}
    book = """<dl><dt>column, <a href="a.html">Concepts, Old and New</a>, <a href="b.html">Basics</a></dt>
        <dd><dl><dt>adding, <a href="c.html#ADD">Adding a Column</a></dt></dl></dd></dl>"""
    assert terms(book) == {"column": ["a.html", "b.html"], "column adding": ["c.html#ADD"]}


@pytest.mark.greedy
async def test_the_attacks_of_search_get_what_they_should(tmp_path: Path) -> None:
    small = tmp_path / "search"
    shutil.copytree(HOME, small, ignore=shutil.ignore_patterns("data", "out", "__pycache__"))
    with lzma.open(HOME / "manuals.jsonl.xz", "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    judged = [each for split in ("public", "search") for each in read if each.get("split") == split]
    wanted = {key for each in judged for key in each["relevant"]}
    kept = [each | {"text": each["text"][:500]} for each in read if each.get("id") in wanted]
    (small / "manuals.jsonl.xz").write_bytes(
        lzma.compress("".join(json.dumps(each) + "\n" for each in kept + judged).encode(), preset=0)
    )
    text = (small / "arena.toml").read_text()
    for long, short in (("budget_s = 10.0", "budget_s = 1.0"), ("predict_budget_s = 15.0", "predict_budget_s = 6.0")):
        assert long in text
        text = text.replace(long, short)
    (small / "arena.toml").write_text(text)
    done = await check_arena(small, attacks=True, seeds=2, slots=2, device="cpu")
    assert [(attack.name, attack.outcome) for attack in done.attacks if not attack.held] == []
    assert len(done.attacks) == 20
    assert all(0.3 < score < 0.7 for score in done.scores), done.scores
