"""Say what a champion changes for a search engine in use: settings, and which queries it wins and loses.

    mesh git export found --arena search
    python export.py found/rank.py                  # against the rank.py beside this file, on data/public

It prints a page of Markdown: the knobs that differ, what they are in Elasticsearch, OpenSearch and Solr, and the public
queries with the largest gains and losses. Private queries are not used: what is shown of them, someone could learn.
It runs the champion's code as you, without a sandbox, as your own systems will: read what `mesh diff` shows first.
"""

import argparse
import importlib.util
import json
import statistics
import sys
from pathlib import Path
from types import ModuleType

import score

SHOWN = 15  # queries of a list
SAME = 1e-9
WORDS = "[^A-Za-z0-9_]+"  # what is between two words
STEMMERS = {"porter": {"type": "porter_stem"}, "plural": {"type": "stemmer", "language": "minimal_english"}}
SOLR_STEMMERS = {"porter": "solr.PorterStemFilterFactory", "plural": "solr.EnglishMinimalStemFilterFactory"}


def main() -> None:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("champion", type=Path, help="The rank.py to export.")
    parser.add_argument("--baseline", type=Path, default=Path(__file__).with_name("rank.py"), help="What is in use.")
    parser.add_argument("--data", type=Path, default=Path("data/public"), help="Public data that prepare.py made.")
    options = parser.parse_args()
    print("\n".join(page(options.baseline, options.champion, options.data)))


def page(baseline: Path, champion: Path, data: Path) -> list[str]:
    """Return the lines of the page.

    Args:
        baseline: the `rank.py` in use.
        champion: the `rank.py` that may replace it.
        data: folder with corpus, queries and judgments in BEIR's layout.
    """
    old, new = module(baseline, "baseline_rank"), module(champion, "champion_rank")
    before, after = knobs(old), knobs(new)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    lines = ["# Settings", "", "| knob | in use | champion |", "|---|---|---|"]
    lines += [f"| `{name}` | {before.get(name, '-')} | {after.get(name, '-')} |" for name in changed]
    if not changed:
        lines.append("| none differs | | |")
    lines += ["", "Code that differs besides knobs has to be ported by hand.", "", "# Elasticsearch and OpenSearch", ""]
    lines += [
        "```json",
        json.dumps(elastic(after), indent=2),
        "```",
        "",
        "# Solr",
        "",
        "```xml",
        *solr(after),
        "```",
        "",
    ]
    lines += [
        "`combined_fields` counts words as `rank.py` does. Without it, use `multi_match` and measure again.",
        "",
    ]
    rest = [
        name
        for name in ("PHRASE_WEIGHT", "FEEDBACK_DOCS", "QUESTION_BOOST", "TITLE_BOOST", "PAGE_WEIGHT")
        if after.get(name)
    ]
    if rest:
        lines += [f"Not in these settings: {', '.join(rest)}. They belong in the query, or in a reranker.", ""]
    return lines + compared(old, new, data)


def module(path: Path, name: str) -> ModuleType:
    """Return a `rank.py` as a module; it is run, as a trial runs it."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        sys.exit(f"{path} is not a Python file: give the rank.py of the champion")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def knobs(rank: ModuleType) -> dict[str, object]:
    """Return the constants of a `rank.py` that are numbers, texts or yes and no."""
    return {
        name: value for name, value in vars(rank).items() if name.isupper() and isinstance(value, (int, float, str))
    }


def elastic(values: dict[str, object]) -> dict[str, object]:
    """Return settings, mappings and a query for Elasticsearch and OpenSearch, whose BM25 is Lucene's, as ours is."""
    stemmer = STEMMERS.get(str(values.get("STEM")))
    chain = ["lowercase", *(["stop"] if values.get("STOPWORDS") else []), *(["mesh_stem"] if stemmer else [])]
    analysis = {
        "tokenizer": {"mesh_words": {"type": "pattern", "pattern": WORDS}},
        "filter": {"mesh_stem": stemmer} if stemmer else {},
        "analyzer": {"mesh": {"type": "custom", "tokenizer": "mesh_words", "filter": chain}},
    }
    similarity = {"mesh": {"type": "BM25", "k1": values.get("K1"), "b": values.get("B")}}
    field = {"type": "text", "analyzer": "mesh", "similarity": "mesh"}
    weights = {"title": values.get("TITLE_WEIGHT"), "page": values.get("PAGE_WEIGHT"), "text": 1.0}
    found = {name: weight for name, weight in weights.items() if isinstance(weight, (int, float)) and weight > 0}
    least = min(found.values())  # a boost is 1 at least
    fields = [f"{name}^{weight / least:.4g}" for name, weight in found.items()]
    return {
        "settings": {"index": {"similarity": similarity, "analysis": analysis}},
        "mappings": {"properties": dict.fromkeys(found, field)},
        "query": {"combined_fields": {"query": "...", "fields": fields}},
    }


def solr(values: dict[str, object]) -> list[str]:
    """Return a field type of Solr's schema."""
    stemmer = SOLR_STEMMERS.get(str(values.get("STEM")))
    return [
        '<fieldType name="mesh" class="solr.TextField">',
        "  <analyzer>",
        f'    <tokenizer class="solr.PatternTokenizerFactory" pattern="{WORDS}"/>',
        '    <filter class="solr.LowerCaseFilterFactory"/>',
        *(['    <filter class="solr.StopFilterFactory" words="stopwords.txt"/>'] if values.get("STOPWORDS") else []),
        *([f'    <filter class="{stemmer}"/>'] if stemmer else []),
        "  </analyzer>",
        '  <similarity class="solr.BM25SimilarityFactory">',
        f'    <float name="k1">{values.get("K1")}</float>',
        f'    <float name="b">{values.get("B")}</float>',
        "  </similarity>",
        "</fieldType>",
    ]


def compared(old: ModuleType, new: ModuleType, data: Path) -> list[str]:
    """Return the public queries that the champion wins and loses, by nDCG@10."""
    documents, queries, relevant = new.public(data)
    names = [name for name in queries if name in relevant]
    scores = []
    for rank in (old, new):
        index = rank.index(documents, rank.learn(documents, queries, relevant))
        scores.append([score.ndcg(list(dict.fromkeys(index.search(queries[name]))), relevant[name]) for name in names])
    gains = [after - before for before, after in zip(*scores, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    won, lost = sum(gain > SAME for gain in gains), sum(gain < -SAME for gain in gains)
    lines = [
        "# Public queries",
        "",
        f"nDCG@10 {statistics.fmean(scores[0]):.4f} in use, {statistics.fmean(scores[1]):.4f} with the champion "
        f"({statistics.fmean(gains):+.4f}, standard error {error:.4f}): {won} won, {lost} lost, "
        f"{len(gains) - won - lost} alike.",
        "A champion that learns from public judgments looks too good here. What proves a gain are the private ones.",
    ]
    order = sorted(range(len(gains)), key=lambda n: -gains[n])
    for title, chosen in (("Won", order[:SHOWN]), ("Lost", order[::-1][:SHOWN])):
        rows = [n for n in chosen if (gains[n] > SAME if title == "Won" else gains[n] < -SAME)]
        lines += ["", f"## {title}", "", "| query | in use | champion |", "|---|---|---|"]
        lines += [f"| {cell(queries[names[n]])} | {scores[0][n]:.3f} | {scores[1][n]:.3f} |" for n in rows]
    return lines


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    main()
