"""Make `manuals.jsonl.xz`, the corpora and judgments of this arena, from the manuals of Python 3.11 and PostgreSQL 15.

    apt-get download python3.11-doc postgresql-doc-15
    python arenas/search/make_data.py --packages .

A document is a section of a manual. A query is a term of the manual's index, as its authors wrote it, or a question of
Python's FAQ; relevant are the sections to which they pointed it. The heading of an answer in the FAQ is left out of the
corpus, because it is the query. The ids of documents say nothing. Lines are `{"manual", "id", "title", "page", "text"}`
and `{"manual", "query", "relevant", "split", "cluster"}`.
"""

import argparse
import hashlib
import json
import lzma
import math
import random
import re
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import manuals
import rank
import score

FOLDERS = (
    "c-api",
    "distributing",
    "extending",
    "faq",
    "howto",
    "installing",
    "library",
    "reference",
    "tutorial",
    "using",
)
INDEX = {"python": "genindex-all.html", "postgresql": "bookindex.html"}
NO_QUERY = ("environment variable", "RFC", "Python Enhancement")  # lists of names, and no words to search by
MIN_LETTERS = 80  # of a section's text
MOST = 10  # relevant sections of a query
PUBLIC = 110  # of 256 pages
DEALS = 10_000
VARIANTS = ({}, {"K1": 1.2, "B": 0.75}, {"K1": 0.9, "B": 0.4, "PHRASE_WEIGHT": 0.5}, {"TITLE_BOOST": 0.5})


def main() -> None:
    """Read the packages and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="Folder with the two Debian packages.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("manuals.jsonl.xz"))
    options = parser.parse_args()
    lines: list[dict] = []
    for manual, (package, _, _) in manuals.PACKAGES.items():
        lines += Manual(manual, options.packages / package).lines()
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    options.out.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes", file=sys.stderr)


class Manual:
    """The sections of a manual, and its index."""

    def __init__(self, name: str, package: Path) -> None:
        self.name = name
        self.index: dict[str, list[str]] = {}
        self.documents: list[dict] = []
        self.units: dict[str, str] = {}  # by document: what is held out together
        self.places: dict[str, str] = {}  # by page, and by page#anchor: the document
        self.questions: dict[str, list[str]] = {}
        for page, html in manuals.pages(package, name):
            if page == INDEX[name]:
                self.index = manuals.index_terms(html)
            elif name == "postgresql" or page.split("/")[0] in FOLDERS:
                self._read(page, html)

    def _read(self, page: str, html: str) -> None:
        sections = manuals.sections(page, html)
        for section in sections:
            text = re.sub(r"\s+", " ", " ".join(section.prose + section.code)).strip()
            if len(text) <= MIN_LETTERS:
                continue
            key = f"{self.name[:2]}{len(self.documents):04}"
            is_answer = page.startswith("faq/") and "?" in section.title
            if is_answer:
                self.questions[section.title] = [key]
            self.documents.append(
                {
                    "manual": self.name,
                    "id": key,
                    "title": "" if is_answer else heading(section.title),
                    "page": heading(sections[0].title),
                    "text": text,
                }
            )
            self.units[key] = f"{page}#{section.anchors[0]}" if is_answer else page
            self.places.setdefault(page, key)
            for anchor in section.anchors:
                self.places.setdefault(f"{page}#{anchor}", key)

    def lines(self) -> list[dict]:
        """Return documents and queries."""
        found = defaultdict(set)
        for term, targets in self.index.items():
            if term.startswith(NO_QUERY):
                continue
            if self.name == "python":
                targets = [target for target in targets if re.search(r"#index-\d+$", target)]
            relevant = {self.places.get(target) or self.places.get(self._page(target)) for target in targets} - {None}
            query = re.sub(r"\s+", " ", re.sub(r"[(),:]", " ", term)).strip()
            if relevant and re.search(r"[A-Za-z]{3}", query) and len(query.split()) >= 2:
                found[query] |= relevant
        queries = {query: sorted(keys) for query, keys in sorted(found.items()) if len(keys) <= MOST} | self.questions
        units = {query: sorted({self.units[key] for key in keys}) for query, keys in queries.items()}
        splits = self._splits(queries, units)
        judged = []
        for query, keys in queries.items():
            mine = {splits[unit] for unit in units[query]}
            if mine == {"search", "confirm"}:
                mine = {"confirm"}
            if len(mine) == 1:
                line = {"manual": self.name, "query": query, "relevant": keys, "split": mine.pop()}
                judged.append(line | {"cluster": hashlib.sha256(units[query][0].encode()).hexdigest()[:8]})
        text = sum(len(each["text"]) for each in self.documents)
        counts = {split: sum(each["split"] == split for each in judged) for split in {e["split"] for e in judged}}
        print(f"{self.name}: {len(self.documents):,} sections, {text:,} letters, {len(queries):,} queries: {counts}")
        return self.documents + judged

    def _splits(self, queries: dict[str, list[str]], units: dict[str, list[str]]) -> dict[str, str]:
        """Return the split of each page. Those that are not public are dealt so that both private splits are alike."""
        if self.name != "python":
            return dict.fromkeys(self.units.values(), "sealed")
        pages = sorted({unit for found in units.values() for unit in found})
        public = {unit for unit in pages if hashlib.sha256(unit.encode()).digest()[0] < PUBLIC}
        private = {query: found for query, found in units.items() if public.isdisjoint(found)}
        dealt = most_alike(private, self._weights(queries, private))
        return dict.fromkeys(pages, "confirm") | dict.fromkeys(public, "public") | dealt

    def _weights(self, queries: dict[str, list[str]], private: dict[str, list[str]]) -> dict[str, list[float]]:
        """Return, by query, what is to be alike: count, questions, and what the baseline and variants of it score."""
        found = {query: [1.0, float(query in self.questions)] for query in private}
        for knobs in VARIANTS:
            vars(rank).update(knobs)
            index = rank.index(self.documents, {})
            for query, weights in found.items():
                weights.append(score.ndcg(index.search(query), dict.fromkeys(queries[query], 1)))
        return found

    def _page(self, target: str) -> str:
        """Return the page that stands for a target without a section of its own; Python's index names each place."""
        return target.split("#")[0] if self.name == "postgresql" else target


def heading(title: str) -> str:
    """Return a heading without its number: "F.7.3. Limitations" and "Chapter 71. BRIN Indexes" have one."""
    return re.sub(r"^((Chapter|Appendix|Part) )?([A-Z0-9]+\.)+ ", "", title)


def most_alike(private: dict[str, list[str]], weights: dict[str, list[float]]) -> dict[str, str]:
    """Return the split of each page: of `DEALS` random ones, the one with the least differences in size and scores."""
    draw = random.Random(1)
    pages = sorted({unit for found in private.values() for unit in found})
    total = [sum(column) for column in zip(*weights.values(), strict=True)]
    least, chosen = math.inf, {}
    for _ in range(DEALS):
        search = {unit for unit in pages if draw.random() < 0.5}
        mine = [weights[query] for query, found in private.items() if search.issuperset(found)]
        sums = [sum(column) for column in zip(*mine, strict=True)]
        apart = max(abs(2 * part / whole - 1) for part, whole in zip(sums[:2], total[:2], strict=True))
        for part, whole in zip(
            sums[2:], total[2:], strict=True
        ):  # means of scores, of which 0.01 counts as 5 % of the size
            if sums[0] not in (0, total[0]):
                apart = max(apart, 5 * abs(part / sums[0] - (whole - part) / (total[0] - sums[0])))
        if apart < least:
            least, chosen = apart, {unit: "search" if unit in search else "confirm" for unit in pages}
    print(f"of {DEALS:,} deals, in the best one the private splits differ by {least:.1%} at most", file=sys.stderr)
    return chosen


if __name__ == "__main__":
    main()
