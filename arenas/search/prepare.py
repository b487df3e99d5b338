"""Lay out the corpora and judgments of `manuals.jsonl.xz`, which `make_data.py` made.

Trials read `public`: the corpus, and queries with their relevant documents, in BEIR's layout. Only the score program
reads `private`: the queries of the splits `search` and `confirm`, whose pages no public query has, and those of
`sealed` with a corpus of their own.
"""

import json
import lzma
import os
import sys
from pathlib import Path

DOCS = Path("/usr/share/doc")
MANUALS = ("python3.[0-9]*/html", "python3-doc/html", "postgresql-doc*/html")
DATA = Path(__file__).with_name("manuals.jsonl.xz")


def main() -> None:
    """Write the data, or exit with a sentence where a trial could read the manuals' own index."""
    for pattern in MANUALS:
        for found in DOCS.glob(pattern):
            sys.exit(
                f"{found} holds the index that scores, where trials can read it: remove the package with this manual"
            )
    with lzma.open(DATA, "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    out = Path(os.environ.get("MESH_OUT", "data"))
    corpora = {"python": out / "public" / "corpus.jsonl", "postgresql": out / "private" / "corpus-sealed.jsonl"}
    for manual, path in corpora.items():
        write(path, [document(each) for each in read if each["manual"] == manual and "id" in each])
    judged = [each for each in read if "query" in each]
    public = [each for each in judged if each["split"] == "public"]
    write(out / "public" / "queries.jsonl", [{"_id": f"q{n}", "text": e["query"]} for n, e in enumerate(public)])
    pairs = [f"q{n}\t{key}\t1\n" for n, each in enumerate(public) for key in each["relevant"]]
    (out / "public" / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(pairs))
    for split in ("search", "confirm", "sealed"):
        mine = [each for each in judged if each["split"] == split]
        write(out / "private" / f"{split}.jsonl", [query(each) for each in mine])


def document(each: dict) -> dict:
    """Return a document in BEIR's layout, with the title of its page beside it."""
    return {"_id": each["id"], "title": each["title"], "page": each["page"], "text": each["text"]}


def query(each: dict) -> dict:
    """Return a query with its relevant documents, and the page that it shares with others."""
    return {"query": each["query"], "relevant": dict.fromkeys(each["relevant"], 1), "cluster": each["cluster"]}


def write(path: Path, lines: list[dict]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
