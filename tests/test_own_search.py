"""Own documents and judgments for arenas/search: BEIR, TREC, Quepid and click logs become the same splits."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mesh.arena import load_arena
from mesh.errors import BadInput
from mesh.own_data.files import read_table
from mesh_cli.setup.check_arena import check_arena
from mesh_cli.setup.new_arena import NewArena, NewWanted, new_arena

WORDS = "pump valve motor gear shaft seal belt chain brake wheel lever spring clutch piston rotor".split()  # noqa: SIM905
COUNT = 120


def document(number: int) -> dict[str, str]:
    words = [WORDS[number % 15], WORDS[(number // 4) % 15], f"model{number}"]
    return {
        "_id": f"P-{number}",
        "title": " ".join(words),
        "text": f"{' '.join(words)} for machines of kind {number % 7}",
    }


def question(number: int) -> str:
    return f"{WORDS[(number // 4) % 15]} model{number}"


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prepared(arena: NewArena, source: Path) -> tuple[Path, str]:
    """Run the arena's `prepare`; return its output and what it said."""
    out = arena.folder.parent / f"{arena.name}-data"
    env = os.environ | {"MESH_SOURCE": str(source), "MESH_OUT": str(out)}
    command = [sys.executable, "prepare.py"]
    done = subprocess.run(command, cwd=arena.folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def judged(out: Path) -> dict[str, dict[str, dict[str, int]]]:
    """The relevant documents of each query by split, by the owner's query."""
    found = {}
    for split in ("search", "confirm", "sealed"):
        lines = [json.loads(line) for line in (out / "private" / f"{split}.jsonl").read_text().splitlines()]
        found[split] = {line["query"]: line["relevant"] for line in lines}
    public = [json.loads(line) for line in (out / "public" / "queries.jsonl").read_text().splitlines()]
    grades: dict[str, dict[str, int]] = {}
    for line in (out / "public" / "qrels.tsv").read_text().splitlines()[1:]:
        query, key, grade = line.split("\t")
        grades.setdefault(query, {})[key] = int(grade)
    return found | {"public": {each["text"]: grades[each["_id"]] for each in public}}


def test_beir_trec_and_quepid_files_give_the_same_splits(tmp_path: Path) -> None:
    found = []
    for form in ("beir", "trec", "quepid", "one"):
        source = tmp_path / form
        source.mkdir()
        if form != "one":
            write_jsonl(source / "corpus.jsonl", [document(n) for n in range(COUNT)])
        pairs = [(n, n, 2) for n in range(COUNT)] + [(n, (n + 1) % COUNT, 0) for n in range(COUNT)]
        pairs += [(n, n + 1, 1) for n in range(0, COUNT, 6)]
        if form in ("beir", "trec"):
            write_jsonl(source / "queries.jsonl", [{"_id": f"q{n}", "text": question(n)} for n in range(COUNT)])
        if form == "beir":
            lines = ["query-id\tcorpus-id\tscore", *(f"q{q}\tP-{d}\t{g}" for q, d, g in pairs)]
            (source / "qrels.tsv").write_text("\n".join(lines))
        elif form == "trec":
            (source / "robust.qrels").write_text("".join(f"q{q} 0 P-{d} {g}\n" for q, d, g in pairs))
        elif form == "quepid":
            write_csv(
                source / "case 7.csv", [{"query": question(q), "docid": f"P-{d}", "rating": g} for q, d, g in pairs]
            )
        else:
            wide = [{"query": question(q), "docid": f"P-{d}", **document(d), "rating": g} for q, d, g in pairs]
            write_csv(tmp_path / "one" / "export.csv", [{k: v for k, v in row.items() if k != "_id"} for row in wide])
            source = source / "export.csv"
        made = new_arena("search", tmp_path / f"arena-{form}", NewWanted(source))
        out, told = prepared(made, source)
        assert f"split: {COUNT} queries: public " in told
        assert "base rate: 1.2 relevant documents per query" in told
        found.append(judged(out))
    assert found[0] == found[1] == found[2] == found[3]
    splits = found[0]
    assert sorted(query for each in splits.values() for query in each) == sorted(map(question, range(COUNT)))
    assert all(len(each) >= 20 for each in splits.values())
    relevant = {s: {d for grades in each.values() for d, g in grades.items() if g > 0} for s, each in splits.items()}
    assert not relevant["public"] & (relevant["search"] | relevant["confirm"] | relevant["sealed"])


def test_clicks_become_grades_by_what_the_position_makes_of_them_with_a_warning(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", [document(n) for n in range(COUNT)])
    rows: list[dict[str, object]] = []
    for n in range(COUNT):
        shown = {"query": question(n), "impressions": 100}
        rows.append({**shown, "docid": f"P-{n}", "clicks": 10 if n % 2 else 2, "position": 5})
        rows.append({**shown, "docid": f"P-{(n + 7) % COUNT}", "clicks": 0 if n % 2 else 40, "position": 1})
    write_csv(tmp_path / "click_log.csv", rows)
    made = new_arena("search", tmp_path / "arenas" / "clicked", NewWanted(tmp_path))
    out, told = prepared(made, tmp_path)
    assert "position bias" in told
    everything = {query: grades for each in judged(out).values() for query, grades in each.items()}
    assert everything[question(3)] == {"d3": 2, "d10": 0}  # 10 clicks; a document at the fifth place gets 6 of 100
    assert everything[question(4)] == {"d4": 1, "d11": 3}  # 40 clicks at the first place, where 20 are usual


def test_few_queries_have_no_sealed_part_and_the_arena_asks_for_no_looks(tmp_path: Path) -> None:
    source = tmp_path / "export"
    source.mkdir()
    write_jsonl(source / "corpus.jsonl", [document(n) for n in range(60)])
    write_csv(source / "ratings.csv", [{"query": question(n), "docid": f"P-{n}", "rating": 1} for n in range(60)])
    made = new_arena("search", tmp_path / "mine", NewWanted(source))
    assert made.measured
    assert sum(made.measured.parts.values()) == 60
    assert "sealed" not in made.measured.parts
    assert load_arena(made.folder).selection.sealed == "off"
    out, told = prepared(made, source)
    assert "no sealed part: it needs 20 queries, so about 100 with a relevant document in all" in told
    assert (out / "private" / "sealed.jsonl").read_text() == ""
    env = os.environ | {"MESH_DATA": str(out / "public"), "MESH_PRIVATE": str(out / "private"), "MESH_SPLIT": "sealed"}
    command = [sys.executable, "score.py"]
    done = subprocess.run(command, cwd=made.folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == "these queries are too few for a sealed part: judge more, or set selection.sealed to off\n"


def test_too_few_judged_queries_are_refused_and_documents_without_text_are_said(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "corpus.jsonl", [document(n) for n in range(COUNT)])
    write_csv(tmp_path / "ratings.csv", [{"query": question(n), "docid": f"P-{n}", "rating": 1} for n in range(39)])
    with pytest.raises(BadInput, match="39 queries have a relevant document, but at least 40 are needed"):
        new_arena("search", tmp_path / "arenas" / "few", NewWanted(tmp_path))
    (tmp_path / "corpus.jsonl").unlink()
    with pytest.raises(BadInput, match="needs a file of corpus or a column text of qrels"):
        new_arena("search", tmp_path / "arenas" / "none", NewWanted(tmp_path))
    (tmp_path / "bad.qrels").write_text("q1 0 d1 1\nq1 0 d2\n")
    with pytest.raises(BadInput, match=r"line 2 is 'q1 0 d2': a line of TREC's judgments has 4 columns"):
        read_table(tmp_path / "bad.qrels")


async def test_an_arena_of_own_judgments_scores_its_baseline(tmp_path: Path) -> None:
    source = tmp_path / "export"
    source.mkdir()
    write_jsonl(source / "corpus.jsonl", [document(n) for n in range(COUNT)])
    write_csv(source / "ratings.csv", [{"query": question(n), "docid": f"P-{n}", "rating": 1} for n in range(COUNT)])
    made = new_arena("search", tmp_path / "mine", NewWanted(source))
    toml = made.folder / "arena.toml"
    assert load_arena(made.folder).data.leak_audit == "warn"  # documents may be public, judgments must not
    toml.write_text(toml.read_text().replace('leak_audit = "warn"', 'leak_audit = "off"'))  # it takes 15 s
    done = await check_arena(made.folder, attacks=False, seeds=2, slots=2, device="cpu")
    assert len(done.scores) == 2
    assert all(score > 0.9 for score in done.scores)


def test_an_export_has_the_settings_for_other_engines_and_the_queries_that_are_won_and_lost(tmp_path: Path) -> None:
    source = tmp_path / "export"
    source.mkdir()
    write_jsonl(source / "corpus.jsonl", [document(n) for n in range(COUNT)])
    write_csv(source / "ratings.csv", [{"query": question(n), "docid": f"P-{n}", "rating": 1} for n in range(COUNT)])
    made = new_arena("search", tmp_path / "mine", NewWanted(source))
    out, _ = prepared(made, source)
    text = (made.folder / "rank.py").read_text()
    champion = tmp_path / "champion.py"
    for old, new in (("TITLE_WEIGHT = 1.0", "TITLE_WEIGHT = 2.5"), ('STEM = "porter"', 'STEM = "plural"')):
        assert old in text
        text = text.replace(old, new)
    champion.write_text(text.replace('re.compile(r"[a-z0-9_]+")', 're.compile(r"[a-z]+")'))  # it cannot tell models
    command = [sys.executable, "export.py", str(champion), "--data", str(out / "public")]
    done = subprocess.run(command, cwd=made.folder, capture_output=True, text=True, timeout=300, check=True)
    assert "| `TITLE_WEIGHT` | 1.0 | 2.5 |" in done.stdout
    assert "| `STEM` | porter | plural |" in done.stdout
    assert "`K1` |" not in done.stdout
    settings = json.loads(done.stdout.partition("```json")[2].partition("```")[0])
    assert settings["settings"]["index"]["similarity"]["mesh"] == {"type": "BM25", "k1": 0.9, "b": 0.4}
    assert settings["query"]["combined_fields"]["fields"] == ["title^2.5", "text^1"]
    assert settings["settings"]["index"]["analysis"]["filter"]["mesh_stem"]["language"] == "minimal_english"
    assert "solr.EnglishMinimalStemFilterFactory" in done.stdout
    public = {json.loads(line)["text"] for line in (out / "public" / "queries.jsonl").read_text().splitlines()}
    lost = done.stdout.partition("## Lost")[2]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in lost.splitlines()[4:]]
    assert rows
    assert set(rows) <= public
    assert "0 won" in done.stdout
    gone = subprocess.run(
        [*command[:2], "no.py"], cwd=made.folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert (gone.returncode, gone.stderr) == (1, "no.py is not a Python file: give the rank.py of the champion\n")
