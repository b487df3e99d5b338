"""An owner's documents, queries and judgments as the data of this arena: public, search, confirm and sealed.

Judgments are grades of documents by query. A click log becomes grades: clicks by those that were to be expected at the
same positions (clicks over expected clicks; Zhang and Jones, "Comparing click logs and editorial labels for training
query rewriting", 2007). Queries that share a relevant document are kept together, so that no public judgment tells of a
private one.
"""

import hashlib
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

Row = dict[str, Any]
SHARES = {"public": 0.3, "search": 0.25, "confirm": 0.25, "sealed": 0.2}
FEWEST = 40
"""Queries with a relevant document, without which nothing can be measured."""
FEWEST_SEALED = 20
"""Queries without which there is no sealed part; the other parts share them then."""
LARGEST = 0.25
"""If more queries than this share hang together by their documents, they are dealt one by one."""


def data(tables: dict[str, list[Row]]) -> tuple[list[dict], list[dict]]:
    """Return documents and judged queries, in the form of `manuals.jsonl.xz`.

    Args:
        tables: those of `own_data.toml`, as `mesh.own_data.reading` returns them.

    Raises:
        SystemExit: there is too little to measure anything; with one sentence.
    """
    rows = tables.get("corpus") or [row | {"id": row["document"]} for row in tables["qrels"]]
    documents: dict[str, dict] = {}
    for row in rows:
        fields = {"title": row.get("title") or "", "page": row.get("page") or "", "text": row["text"] or ""}
        documents.setdefault(row["id"], {"manual": "own", "id": f"d{len(documents)}", "source": row["id"], **fields})
    texts = {row["id"]: row["text"] for row in tables.get("queries", [])}
    grades: defaultdict[str, dict[str, int]] = defaultdict(dict)
    unknown: Counter[str] = Counter()
    for query, document, grade in judgments(tables):
        if document in documents:
            grades[texts.get(query, query)][documents[document]["id"]] = grade
        else:
            unknown[document] += 1
    judged = {query: found for query, found in grades.items() if any(grade > 0 for grade in found.values())}
    if unknown:
        first = next(iter(unknown))
        print(f"left out: judgments of {len(unknown):,} documents that are not in the corpus, such as {first[:60]!r}")
    if len(grades) > len(judged):
        print(f"left out: {len(grades) - len(judged):,} queries without a relevant document")
    if len(judged) < FEWEST:
        sys.exit(
            f"{len(judged)} queries have a relevant document, but at least {FEWEST} are needed: judge more queries"
        )
    return list(documents.values()), dealt(judged)


def judgments(tables: dict[str, list[Row]]) -> Iterator[tuple[str, str, int]]:
    """Yield query, document and grade, of judgments and of clicks; the last one of a pair counts."""
    if clicks := tables.get("clicks"):
        print(
            "clicks: grades are clicks by those expected at the same positions; what was never shown counts as not "
            "relevant, and the engine that wrote this log looks better than it is (position bias)"
            + ("" if any(row.get("position") for row in clicks) else "; without positions, even more so")
        )
        yield from clicked(clicks)
    for row in tables.get("qrels", []):
        yield row["query"], row["document"], max(0, round(row["grade"]))


def clicked(rows: list[Row]) -> Iterator[tuple[str, str, int]]:
    """Yield query, document and grade: 0 without clicks, 1 for fewer than expected, 2, and 3 from twice as many on."""
    shown: Counter[int] = Counter()
    taken: Counter[int] = Counter()
    for row in rows:
        place = round(row.get("position") or 0)
        shown[place] += row["impressions"]
        taken[place] += row["clicks"]
    for row in rows:
        place = round(row.get("position") or 0)
        expected = row["impressions"] * taken[place] / shown[place] if shown[place] else 0.0
        ratio = row["clicks"] / expected if expected else 0.0
        yield row["query"], row["document"], 0 if not row["clicks"] else 1 if ratio < 1 else 2 if ratio < 2 else 3


def dealt(judged: dict[str, dict[str, int]]) -> list[dict]:
    """Return the queries with split and cluster; queries that share a relevant document are in one cluster."""
    clusters = together(judged)
    largest = max(Counter(clusters.values()).values())
    if largest > LARGEST * len(judged):
        print(
            f"clusters: {largest:,} of {len(judged):,} queries hang together by their documents, so each stands for "
            "itself; a public judgment may tell of a private one"
        )
        clusters = {query: query for query in judged}
    sizes = Counter(clusters.values())
    order = sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest())
    split_of, counts = shared(order, sizes, SHARES)
    if counts["sealed"] < FEWEST_SEALED:
        rest = 1 - SHARES["sealed"]
        split_of, counts = shared(order, sizes, {s: each / rest for s, each in SHARES.items() if s != "sealed"})
        print(
            f"no sealed part: it needs {FEWEST_SEALED} queries, so about {math.ceil(FEWEST_SEALED / SHARES['sealed'])} "
            "with a relevant document in all: judge more queries"
        )
    told = ", ".join(f"{split} {count}" for split, count in counts.items())
    relevant = sum(grade > 0 for found in judged.values() for grade in found.values()) / len(judged)
    print(f"split: {len(judged):,} queries: {told}, by the documents that they share")
    print(f"base rate: {relevant:.1f} relevant documents per query")
    return [
        {"query": query, "relevant": found, "split": split_of[clusters[query]], "cluster": short(clusters[query])}
        for query, found in judged.items()
    ]


def shared(
    order: list[str], sizes: Mapping[str, int], shares: dict[str, float]
) -> tuple[dict[str, str], dict[str, int]]:
    """Deal clusters to the splits; return the split of each cluster, and how many queries each split got."""
    counts, split_of, total = dict.fromkeys(shares, 0), dict[str, str](), sum(sizes.values())
    for name in order:
        split = max(shares, key=lambda split: shares[split] * total - counts[split])
        counts[split] += sizes[name]
        split_of[name] = split
    return split_of, counts


def together(judged: dict[str, dict[str, int]]) -> dict[str, str]:
    """Return the first query of the cluster of each query, by union-find over relevant documents."""
    first: dict[str, str] = {query: query for query in judged}

    def root(query: str) -> str:
        while first[query] != query:
            first[query] = first[first[query]]
            query = first[query]
        return query

    seen: dict[str, str] = {}
    for query, found in judged.items():
        for document, grade in found.items():
            if grade > 0:
                first[root(query)] = root(seen.setdefault(document, query))
    return {query: root(query) for query in judged}


def short(name: str) -> str:
    """Return a name of a cluster that says nothing."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]
