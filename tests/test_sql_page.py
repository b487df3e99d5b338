"""`docs/reference/views.md` explains every column of the promised views, and the queries of `docs/sql.md` run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics.projection import Projection
from analytics.sql_server import SqlServer
from mesh.sql_protocol import Query
from mesh.testing import run_of
from tests.support.folding import folded_once, rows
from tests.support.history import RICH_HISTORY, T1, T2, T3, T4

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "sql.md").read_text(encoding="utf-8")
VIEWS = (DOCS / "reference" / "views.md").read_text(encoding="utf-8")
PROMISED = [
    *("leaderboard", "runs", "proposals", "lineage", "frontier", "agents"),
    *("critics", "workers", "noise", "cost", "board", "events"),
    *("knobs", "metrics", "stages", "screening", "model_calls", "judging"),
    *("arenas", "champions", "changes", "scores", "samplers", "halving"),
    *("commits", "claims", "economics", "not_counted"),
]
QUESTIONS = dict(re.findall(r"### ([^\n]*\?)\n\n```sql\n(.*?)```", PAGE, re.DOTALL))


@pytest.fixture(scope="module")
def projection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projection]:
    with folded_once(tmp_path_factory.mktemp("projection") / "a.duckdb", RICH_HISTORY) as projection:
        yield projection


@pytest.fixture
async def queries(projection: Projection) -> SqlServer:
    return SqlServer(projection)


@pytest.mark.parametrize("view", PROMISED)
async def test_the_page_explains_every_column_of_every_promised_view(view: str, queries: SqlServer) -> None:
    [section] = re.findall(rf"\n## `{view}`\n(.*?)(?=\n##|\Z)", VIEWS, re.DOTALL)
    explained = re.findall(r"^\| `(\w+)` \| ([^|]+) \| (?:[^|]*\w[^|]*) \|$", section, re.MULTILINE)
    real = [(row[0], row[1]) for row in await rows(queries, f"DESCRIBE {view}")]
    missing = [f"| `{name}` | {kind} | … |" for name, kind in real if (name, kind) not in explained]
    assert explained == real, f"docs/reference/views.md, {view}: add {missing}, in the order of the view"


def test_the_pages_promise_no_other_view_and_ask_a_dozen_questions() -> None:
    assert re.findall(r"\n## `(\w+)`\n", VIEWS) == PROMISED
    assert len(QUESTIONS) >= 12
    assert PAGE.count("```sql") == len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
async def test_every_question_has_an_answer(question: str, queries: SqlServer) -> None:
    answer = await queries.answer(Query(QUESTIONS[question]))
    assert answer.rows
    assert any(value is not None for value in answer.rows[0])


ANSWERS = {
    "Which run is the best of each worker class?": [
        ["a", "cpu-x86_64", run_of(T1, "confirm"), 2.6],
        ["a", "cuda-h200", run_of(T2), 2.0],
    ],
    "What did the champion's ancestry change?": [
        [0, "mutate: LR 0.2 → 0.4", "train.py", "LR", "0.2", "0.4"],
        [1, "mutate: LR 0.1 → 0.2", "train.py", "LR", "0.1", "0.2"],
        [2, "title 0000", None, None, None, None],
    ],
    "Which ideas were had more than once?": [["a", "mutate: LR 0.2 → 0.4", 2, ["bob", "ann"], [T2, T3]]],
    "Which ways are dead ends?": [["a", T4, "mutate: LR 0.1 → 9.0", "failed", 1]],
    "Which learning rate did the ten best have?": [
        ["a", 1, pytest.approx(2.15), 0.4],
        ["a", 2, pytest.approx(3.1), 0.1],  # nobody changed it there
        ["a", 3, 2.5, 0.2],
        ["a", 4, 4.0, 8.0],
    ],
    "Why do runs fail, and whose?": [["bob", "crash", 1, 60.0, "boom"]],
}


@pytest.mark.parametrize("question", ANSWERS)
async def test_answers_are_right(question: str, queries: SqlServer) -> None:
    assert await rows(queries, QUESTIONS[question]) == ANSWERS[question]


async def test_who_earned_most_per_gpu_hour_is_counted_on_gpus_alone(queries: SqlServer) -> None:
    found = await rows(queries, QUESTIONS["Which agent earned most per GPU-hour?"])
    # ann: 3.0 → 2.5 in four runs of a minute on the GPU; bob: 2.5 → 2.0 in five, of which one crashed.
    assert [(row[1], round(row[3] * 60), round(row[4], 2)) for row in found] == [("ann", 4, 7.5), ("bob", 5, 6.0)]
