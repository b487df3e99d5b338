"""Rank the sections of a manual for a query: BM25 over title and text, in pure Python.

The score program sends a corpus once, and then queries one at a time. `index` reads the corpus, `Index.search` answers
a query with the ids of documents, the best first. The trial calls `learn` with public queries and their relevant
documents; what it returns is saved, and `index` gets it. Champions also have to answer on the corpus of another manual.

By hand: `python prepare.py && python rank.py && python score.py`.
"""

import itertools
import json
import math
import os
import re
from collections import Counter, defaultdict
from pathlib import Path

K1 = 0.9  # mesh: 0.2..3.0; how soon more of the same word says nothing new
B = 0.4  # mesh: 0.0..1.0; how much long documents are held back
TITLE_WEIGHT = 1.0  # mesh: 0.0..5.0; how often a word of the title counts as one of the text
PAGE_WEIGHT = 0.0  # mesh: 0.0..5.0; the same for the title of the page on which the section is
TITLE_BOOST = 0.0  # mesh: 0.0..3.0; weight of a second BM25 score, over titles alone
PHRASE_WEIGHT = 0.0  # mesh: 0.0..3.0; weight of neighbours in the query that are neighbours in a document
STEM = "porter"  # mesh: none|plural|porter
STOPWORDS = True
FEEDBACK_DOCS = 0  # mesh: 0..20; words of so many best documents are added to the query (RM3)
FEEDBACK_TERMS = 15  # mesh: 1..50
FEEDBACK_WEIGHT = 0.5  # mesh: 0.0..1.0
QUESTION_BOOST = 0.0  # mesh: 0.0..2.0; advantage of answers of a FAQ where the query is a question

DEPTH = 100  # ids of an answer; more do not count
WORD = re.compile(r"[a-z0-9_]+")
QUESTION = re.compile(r"(how|why|what|is|can|where|when|which|who|do|does|are|should|my|i)\b", re.IGNORECASE)
COMMON = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "  # noqa: SIM905
    "to was will with".split()
)


def learn(documents: list[dict], queries: dict[str, str], relevant: dict[str, dict[str, int]]) -> dict:
    """Return what public queries teach, as JSON.

    Args:
        documents: the corpus, as `index` gets it.
        queries: text by query.
        relevant: by query, the grade of each relevant document.
    """
    return {}


class Index:
    """The corpus: which documents have a word, and how much each says for it."""

    def __init__(self, documents: list[dict], learned: dict) -> None:
        """Read the corpus.

        Args:
            documents: each with `id`, `title`, `text` and `page`, the title of its page ("" if there are none).
            learned: what `learn` returned.
        """
        self.ids = [each["id"] for each in documents]
        self.terms = Terms()
        fields = (("text", 1.0), ("title", TITLE_WEIGHT), ("page", PAGE_WEIGHT))
        self.texts = weighted(documents, fields, self.terms)
        self.postings = bm25(self.texts, K1, B)
        titles = weighted(documents, (("title", 1.0),), self.terms) if TITLE_BOOST else []
        self.titles = bm25(titles, 1.2, 0.3)
        self.flat = (
            [f" {' '.join(self.terms.of(d['title'] + ' . ' + d['text']))} " for d in documents] if PHRASE_WEIGHT else []
        )
        self.answers = {n for n, each in enumerate(documents) if "FAQ" in each["page"]}

    def search(self, query: str) -> list[str]:
        """Return ids of documents, the best first."""
        words = self.terms.of(query)
        scores = add({}, self.postings, Counter(words), 1.0)
        if FEEDBACK_DOCS and scores:
            scores = self._feedback(scores, len(words))
        is_question = bool(QUESTION_BOOST) and QUESTION.match(query) is not None
        if TITLE_BOOST and not is_question:
            add(scores, self.titles, Counter(words), TITLE_BOOST)
        if is_question:
            for number in self.answers & scores.keys():
                scores[number] *= 1 + QUESTION_BOOST
        if PHRASE_WEIGHT and len(words) > 1:
            self._phrases(scores, words)
        return [self.ids[number] for number in best(scores, DEPTH)]

    def _feedback(self, scores: dict[int, float], words: int) -> dict[int, float]:
        """Return the scores of the query with words of the best documents added (RM3, Abdul-Jaleel et al. 2004)."""
        top = best(scores, FEEDBACK_DOCS)
        total = sum(scores[number] for number in top)
        said: defaultdict[str, float] = defaultdict(float)
        for number in top:
            length = sum(self.texts[number].values())
            for word, count in self.texts[number].items():
                said[word] += scores[number] / total * count / length
        new = sorted(said, key=lambda word: -said[word])[:FEEDBACK_TERMS]
        mass = sum(said[word] for word in new)
        old = {number: (1 - FEEDBACK_WEIGHT) * score / words for number, score in scores.items()}
        return add(old, self.postings, {word: FEEDBACK_WEIGHT * said[word] / mass for word in new}, 1.0)

    def _phrases(self, scores: dict[int, float], words: list[str]) -> None:
        pairs = [f" {first} {second} " for first, second in itertools.pairwise(words)]
        for number in best(scores, DEPTH):
            text = self.flat[number]
            scores[number] *= 1 + PHRASE_WEIGHT * sum(pair in text for pair in pairs) / len(pairs)


def index(documents: list[dict], learned: dict) -> Index:
    """Return the index of a corpus."""
    return Index(documents, learned)


class Terms:
    """Turns text into terms; remembers the stem of each word."""

    def __init__(self) -> None:
        self.stems: dict[str, str] = {}

    def of(self, text: str) -> list[str]:
        """Return the terms of a text in their order."""
        stems, found = self.stems, []
        for word in WORD.findall(text.lower()):
            term = stems.get(word)
            if term is None:
                term = stems[word] = "" if STOPWORDS and word in COMMON else stem(word)
            if term:
                found.append(term)
        return found


Postings = dict[str, tuple[list[int], list[float]]]
"""By term, the numbers of the documents that have it and what it adds to the score of each."""


def weighted(documents: list[dict], fields: tuple[tuple[str, float], ...], terms: Terms) -> list[dict[str, float]]:
    """Return how often each document has each term; a field counts as often as its weight says."""
    found = []
    for each in documents:
        counts: dict[str, float] = {}
        for field, weight in fields:
            if weight:
                for term, count in Counter(terms.of(each[field])).items():
                    counts[term] = counts.get(term, 0) + weight * count
        found.append(counts)
    return found


def bm25(counts: list[dict[str, float]], k1: float, b: float) -> Postings:
    """Return the postings of a corpus by BM25 with Lucene's idf (Robertson and Zaragoza 2009)."""
    lengths = [sum(each.values()) for each in counts]
    mean = sum(lengths) / max(len(lengths), 1) or 1.0
    postings: Postings = {}
    for number, each in enumerate(counts):
        norm = k1 * (1 - b + b * lengths[number] / mean)
        for term, count in each.items():
            if term not in postings:
                postings[term] = ([], [])
            numbers, values = postings[term]
            numbers.append(number)
            values.append(count / (count + norm))
    for numbers, values in postings.values():
        idf = math.log(1 + (len(counts) - len(numbers) + 0.5) / (len(numbers) + 0.5))
        values[:] = [idf * value for value in values]
    return postings


def add(scores: dict[int, float], postings: Postings, words: dict[str, float], weight: float) -> dict[int, float]:
    """Add the scores of weighted words to those of documents, and return them."""
    for word, count in words.items():
        if word in postings:
            factor = weight * count
            for number, value in zip(*postings[word], strict=True):
                scores[number] = scores.get(number, 0.0) + factor * value
    return scores


def best(scores: dict[int, float], count: int) -> list[int]:
    """Return the numbers of the best documents; of equal ones, the first of the corpus comes first."""
    return sorted(scores, key=lambda number: (-scores[number], number))[:count]


def stem(word: str) -> str:
    """Return the stem of a word."""
    if STEM == "porter":
        return porter(word)
    if STEM == "plural" and len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        return word[:-3] + "y" if word.endswith("ies") else word[:-1]
    return word


def rules(text: str) -> tuple[tuple[str, str], ...]:
    """Return the pairs of an ending and what takes its place, the longest endings first."""
    pairs = [rule.partition(":") for rule in text.split()]
    return tuple(sorted(((end, new) for end, _, new in pairs), key=lambda pair: -len(pair[0])))


STEP_2 = rules(
    "ational:ate tional:tion enci:ence anci:ance izer:ize abli:able alli:al entli:ent eli:e ousli:ous ization:ize "
    "ation:ate ator:ate alism:al iveness:ive fulness:ful ousness:ous aliti:al iviti:ive biliti:ble"
)
STEP_3 = rules("icate:ic ative: alize:al iciti:ic ical:ic ful: ness:")
STEP_4 = rules("al ance ence er ic able ible ant ement ment ent sion tion ou ism ate iti ous ive ize")


def porter(word: str) -> str:
    """Return the stem of a word by Porter's algorithm of 1980."""
    if len(word) < 3:
        return word
    kinds = shape(word)
    if word.endswith("sses") or word.endswith("ies"):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    kinds = kinds[: len(word)]
    if word.endswith("eed"):
        if measure(kinds[:-3]):
            word = word[:-1]
    else:
        for end in ("ed", "ing"):
            if word.endswith(end) and "v" in kinds[: len(word) - len(end)]:
                word = mended(word[: -len(end)])
                break
    if word.endswith("y") and "v" in shape(word)[:-1]:
        word = word[:-1] + "i"
    word = replaced(word, STEP_2)
    word = replaced(word, STEP_3)
    for end, _ in STEP_4:
        if word.endswith(end):
            left = word[: len(word) - len(end) + (end in ("sion", "tion"))]
            if measure(shape(left)) > 1:
                word = left
            break
    if word.endswith("e"):
        kinds = shape(word[:-1])
        if measure(kinds) > 1 or (measure(kinds) == 1 and not is_short(word[:-1], kinds)):
            word = word[:-1]
    if word.endswith("ll") and measure(shape(word)) > 1:
        word = word[:-1]
    return word


def shape(word: str) -> str:
    """Return `v` for each vowel of a word and `c` for each consonant; y after a consonant is a vowel."""
    kinds = ""
    for letter in word:
        kinds += "v" if letter in "aeiou" or (letter == "y" and kinds.endswith("c")) else "c"
    return kinds


def measure(kinds: str) -> int:
    """Return how often a consonant follows a vowel."""
    return kinds.count("vc")


def is_short(word: str, kinds: str) -> bool:
    """Tell whether a word ends like "hop": consonant, vowel, consonant that is not w, x or y."""
    return kinds.endswith("cvc") and word[-1] not in "wxy"


def mended(word: str) -> str:
    """Return a word that has lost "ed" or "ing" as it was before: "hopp" is "hop", "fil" is "file"."""
    kinds = shape(word)
    if word.endswith(("at", "bl", "iz")):
        return word + "e"
    if len(word) > 1 and word[-1] == word[-2] and kinds[-1] == "c":
        return word if word[-1] in "lsz" else word[:-1]
    return word + "e" if measure(kinds) == 1 and is_short(word, kinds) else word


def replaced(word: str, step: tuple[tuple[str, str], ...]) -> str:
    """Return a word with its longest ending of a step replaced, if enough is left before it."""
    for end, new in step:
        if word.endswith(end):
            return word[: -len(end)] + new if measure(shape(word[: -len(end)])) else word
    return word


def public(folder: Path) -> tuple[list[dict], dict[str, str], dict[str, dict[str, int]]]:
    """Return documents, queries and relevant documents of the public data, which has BEIR's layout."""
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    relevant: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        relevant[query][document] = int(grade)
    named = [{"id": d["_id"], "title": d["title"], "page": d.get("page", ""), "text": d["text"]} for d in documents]
    return named, {each["_id"]: each["text"] for each in queries}, dict(relevant)


if __name__ == "__main__":
    learned = learn(*public(Path(os.environ.get("MESH_DATA", "data/public"))))
    out = Path(os.environ.get("MESH_OUT", "out"))
    out.mkdir(exist_ok=True)
    (out / "learned.json").write_text(json.dumps(learned))
