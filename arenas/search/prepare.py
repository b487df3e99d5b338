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
    """Write the data of the manuals, or that of the owner (`MESH_SOURCE`)."""
    read = owners(Path(source)) if (source := os.environ.get("MESH_SOURCE")) else of_manuals()
    out = Path(os.environ.get("MESH_OUT", "data"))
    corpora = {"python": "public/corpus", "own": "public/corpus", "postgresql": "private/corpus-sealed"}
    for manual in {each["manual"] for each in read if "id" in each}:
        mine = [document(each) for each in read if "id" in each and each["manual"] == manual]
        write(out / f"{corpora[manual]}.jsonl", mine)
    judged = [each for each in read if "query" in each]
    public = [query(each) for each in judged if each["split"] == "public"]
    write(out / "public" / "queries.jsonl", [{"_id": f"q{n}", "text": e["query"]} for n, e in enumerate(public)])
    pairs = [f"q{n}\t{key}\t{grade}\n" for n, e in enumerate(public) for key, grade in e["relevant"].items()]
    (out / "public" / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(pairs))
    for split in ("search", "confirm", "sealed"):
        write(out / "private" / f"{split}.jsonl", [query(each) for each in judged if each["split"] == split])


def of_manuals() -> list[dict]:
    """Return documents and queries of the manuals, or exit where a trial could read the manuals' own index."""
    for pattern in MANUALS:
        for found in DOCS.glob(pattern):
            sys.exit(
                f"{found} holds the index that scores, where trials can read it: remove the package of this manual"
            )
    if not DATA.exists():
        sys.exit(f"{DATA.name} is not here, because trials could read it in an installed package: use a checkout")
    with lzma.open(DATA, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def owners(source: Path) -> list[dict]:
    """Return documents and queries of the owner's files."""
    import own

    from mesh.own_data.reading import read_source

    documents, judged = own.data(read_source(source, Path(".")))
    return documents + judged


def document(each: dict) -> dict:
    """Return a document in BEIR's layout, with the title of its page beside it."""
    return {"_id": each["id"], "title": each["title"], "page": each["page"], "text": each["text"]}


def query(each: dict) -> dict:
    """Return a query with the grades of its documents, and the page that it shares with others."""
    relevant = each["relevant"] if isinstance(each["relevant"], dict) else dict.fromkeys(each["relevant"], 1)
    return {"query": each["query"], "relevant": relevant, "cluster": each["cluster"]}


def write(path: Path, lines: list[dict]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
