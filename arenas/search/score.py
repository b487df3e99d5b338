"""Measure how well queries find their documents; prints one JSON object.

The candidate's code runs in a child of another process (`predict.py`), which gets the corpus, and then one query at a
time: no query is sent before the one before it is answered. Queries and relevant documents stay here. `predict.py`
measures each answer without the time that others had the CPU (`p95_ms`). `MESH_SPLIT` says which queries count: those
of `search` or of `confirm`, or those of another corpus (`sealed`).

`ndcg` is nDCG@10 with linear gain and log2 discount (Järvelin and Kekäläinen 2002), trec_eval's `ndcg_cut_10`.
"""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

CUT = 10  # documents that a reader looks at
DEPTH = 100  # ids of an answer that count for recall and precision
MAX_ANSWER = 16_384  # bytes
WITHIN_S = 600.0  # for all answers, by the wall clock; the worker bounds CPU time (`predict_budget_s`) and wall time
KEPT = ("PATH", "LANG", "LD_LIBRARY_PATH", "HOME", "MESH_OUT", "MESH_THREADS")

Channel = tuple[int, BinaryIO]
"""The descriptor that takes corpus and queries, and the stream that returns answers."""


class Judged(NamedTuple):
    """A query, the grade of each relevant document, and the page that it shares with other queries."""

    query: str
    relevant: dict[str, int]
    cluster: str


def main() -> None:
    """Print the scores, or exit with one sentence why there are none."""
    documents, queries = load(os.environ.get("MESH_SPLIT", "search"))
    ids = {each["id"] for each in documents}
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"the answers took more than {WITHIN_S:.0f} s"))
    signal.setitimer(signal.ITIMER_REAL, WITHIN_S)
    with predictor() as engine:
        line, _ = ask(engine, {"documents": documents}, "index()")
        size = number(line)
        answers, took = [], []
        for each in queries:
            line, ms = ask(engine, {"query": each.query}, "search()")
            took.append(ms)
            answers.append(checked(line, ids))
    found = metrics(answers, queries)
    write_items(answers, queries)
    print(json.dumps(found | {"p95_ms": quantile(took, 0.95), "index_mb": size}))


def load(split: str) -> tuple[list[dict[str, str]], list[Judged]]:
    """Return the corpus and the queries of a split."""
    private = Path(os.environ.get("MESH_PRIVATE", "data/private"))
    corpus = private / f"corpus-{split}.jsonl"
    if not corpus.exists():
        corpus = Path(os.environ.get("MESH_DATA", "data/public")) / "corpus.jsonl"
    with corpus.open(encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    documents = [{"id": d["_id"], "title": d["title"], "page": d.get("page", ""), "text": d["text"]} for d in read]
    with (private / f"{split}.jsonl").open(encoding="utf-8") as lines:
        queries = [Judged(**json.loads(line)) for line in lines]
    if not queries:
        sys.exit(f"these queries are too few for a {split} part: judge more, or set selection.sealed to off")
    return documents, queries


def metrics(answers: Sequence[Sequence[str]], queries: Sequence[Judged]) -> dict[str, float]:
    """Return the means over queries; `answers` are ids, the best first, without duplicates."""
    pairs = [(answer, query.relevant) for answer, query in zip(answers, queries, strict=True)]
    return {
        "ndcg": mean([ndcg(*pair) for pair in pairs]),
        "mrr": mean([reciprocal_rank(*pair) for pair in pairs]),
        "map": mean([average_precision(*pair) for pair in pairs]),
        "recall_100": mean([recall(*pair) for pair in pairs]),
    }


def write_items(answers: Sequence[Sequence[str]], queries: Sequence[Judged]) -> None:
    """Write what each query contributes to the score to `MESH_ITEMS`; queries of one page belong together."""
    if path := os.environ.get("MESH_ITEMS"):
        items = {
            "values": [ndcg(answer, each.relevant) for answer, each in zip(answers, queries, strict=True)],
            "ids": [f"{os.environ.get('MESH_SPLIT', 'search')} {n}" for n in range(len(queries))],
            "clusters": [each.cluster for each in queries],
        }
        Path(path).write_text(json.dumps(items))


def ndcg(answer: Sequence[str], relevant: dict[str, int]) -> float:
    """Return nDCG@10: the gain of the first ten ids, as part of the gain of the best order; 1 is best."""
    ideal = sorted((grade for grade in relevant.values() if grade > 0), reverse=True)
    return gain([max(relevant.get(each, 0), 0) for each in answer]) / gain(ideal) if ideal else 0.0


def gain(grades: Sequence[int]) -> float:
    """Return the discounted gain of the first ten grades."""
    return sum(grade / math.log2(rank + 2) for rank, grade in enumerate(grades[:CUT]))


def reciprocal_rank(answer: Sequence[str], relevant: dict[str, int]) -> float:
    """Return one by the rank of the first relevant id; 0 if there is none."""
    return next((1 / rank for rank, each in enumerate(answer, 1) if relevant.get(each, 0) > 0), 0.0)


def average_precision(answer: Sequence[str], relevant: dict[str, int]) -> float:
    """Return the mean precision at the ranks of relevant ids; one that is missing counts as 0."""
    ranks = [rank for rank, each in enumerate(answer, 1) if relevant.get(each, 0) > 0]
    return sum(hits / rank for hits, rank in enumerate(ranks, 1)) / max(1, sum(g > 0 for g in relevant.values()))


def recall(answer: Sequence[str], relevant: dict[str, int]) -> float:
    """Return the share of relevant ids that the answer has."""
    return sum(relevant.get(each, 0) > 0 for each in answer) / max(1, sum(g > 0 for g in relevant.values()))


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


def quantile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least this part of the values does not exceed."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


@contextmanager
def predictor() -> Iterator[Channel]:
    """The process that runs the candidate's code: the worker's, or a child of this one."""
    if "MESH_PREDICTOR" in os.environ:
        yield 3, os.fdopen(4, "rb")
        return
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "predict.py"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdin.fileno(), child.stdout
    finally:
        child.kill()
        child.wait()


def ask(engine: Channel, what: dict[str, Any], asked: str) -> tuple[bytes, float]:
    """Send a line; return the line that answers it, and the milliseconds that the answer took."""
    line = json.dumps(what).encode() + b"\n"
    try:
        while line:
            line = line[os.write(engine[0], line) :]
    except BrokenPipeError:
        sys.exit(f"{asked} gave no answer: the process of predict.py has ended")
    answer = engine[1].readline(MAX_ANSWER)
    if not answer:
        sys.exit(f"{asked} gave no answer: the process of predict.py has ended")
    if not answer.endswith(b"\n"):
        return answer, 0.0
    took = engine[1].readline(MAX_ANSWER)
    try:
        return answer, float(took)
    except ValueError:
        sys.exit(f"{asked} gave {took[:60]!r} as its time: the process of predict.py has ended")


def number(line: bytes) -> float:
    """Return the size of the index, in MB, as the candidate's process says it."""
    try:
        size = json.loads(line)["index_mb"]
        if isinstance(size, (int, float)) and math.isfinite(size):
            return float(size)
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    sys.exit(f"the process of predict.py answered {line[:100]!r} to the corpus, in place of the size of its index")


def checked(line: bytes, ids: set[str]) -> list[str]:
    """Return the ids of an answer; only the first of equal ids counts, and no more than `DEPTH`.

    Raises:
        SystemExit: it is not a list of ids of the corpus.
    """
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        sys.exit(
            f"search() must return a list of ids, at most {MAX_ANSWER:,} bytes of JSON, but returned {line[:60]!r}"
        )
    if not isinstance(answer, list):
        sys.exit(f"search() must return a list of ids, but returned {line[:60]!r}")
    for each in answer:
        if not isinstance(each, str) or each not in ids:
            sys.exit(f"search() returned {each!r:.60}, which is not an id of the corpus")
    return list(dict.fromkeys(answer))[:DEPTH]


if __name__ == "__main__":
    main()
