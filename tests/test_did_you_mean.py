"""SQL as people guess it: a first guess works, or is answered with a suggestion that is right and that works."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from analytics.projection import Projection, promised_views
from analytics.sql_server import SqlServer
from analytics.sql_words import CLOSED_WORDS, COLUMN_WORDS, KNOB_WORDS, METRIC_WORDS, STATE_WORDS, VIEW_WORDS
from mesh import events as e
from mesh.errors import QueryError
from mesh.sql_protocol import Query
from tests.support.folding import folded_once, rows
from tests.support.history import RICH_HISTORY, T1, finish, proposal, request
from tests.test_sql_page import PROMISED

T = "f" * 40
OWN: list[tuple[str, e.AnyEvent]] = [
    ("ann", replace(proposal(T, T1), values={"train.py": {"LEARNING_RATE": "0.1", "train.dropout": "0.2"}})),
    ("cur", request("mine", T)),
    ("w", replace(finish("mine", T, 0.5), outcome=e.Scored(value=0.5, metrics={"loss": 0.5, "val_accuracy": 0.9}))),
]


@pytest.fixture(scope="module")
def projection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projection]:
    with folded_once(tmp_path_factory.mktemp("projection") / "a.duckdb", [*RICH_HISTORY, *OWN]) as projection:
        yield projection


@pytest.fixture
async def queries(projection: Projection) -> SqlServer:
    return SqlServer(projection)


async def refused(queries: SqlServer, sql: str) -> str:
    with pytest.raises(QueryError) as refusal:
        await queries.answer(Query(sql))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


GUESSED = {
    # the ten first guesses of an engineer, as columns and as tables
    "SELECT score FROM runs": "value?",
    "SELECT score FROM leaderboard": "mean?",
    "SELECT duration FROM runs": "trial_s?",
    "SELECT status, count(*) FROM runs GROUP BY 1": "state?",
    "SELECT outcome FROM runs": "state?",
    "SELECT knobs FROM proposals": "FROM proposals JOIN knobs USING (arena, proposal)",
    "SELECT failures FROM runs": "reason?",
    "SELECT acc FROM runs": "FROM metrics WHERE name = 'val_accuracy'?",
    "SELECT best FROM runs": "best of leaderboard or frontier?",
    "SELECT params FROM proposals": "FROM proposals JOIN knobs USING (arena, proposal)",
    "SELECT metrics FROM runs": "FROM runs JOIN metrics USING (arena, run)",
    "FROM score": "scores?",
    "FROM duration": "the column trial_s of runs?",
    "FROM status": "the column state of runs?",
    "FROM outcomes": "did you mean runs?",
    "FROM failures": "FROM runs WHERE state = 'failed'?",
    "FROM acc": "FROM metrics WHERE name = 'val_accuracy'?",
    "FROM best": "frontier?",
    "FROM params": "knobs?",
    # an engineer
    "SELECT id, status FROM runs": "did you mean run?",
    "SELECT r.score, p.title FROM runs r JOIN proposals p USING (proposal)": "value of runs?",
    "SELECT p.title FROM proposals p JOIN runs r ON r.proposal_id = p.proposal": "did you mean proposal",
    "SELECT title, score FROM runs, proposals": "did you mean value of runs?",
    "SELECT error, count(*) FROM runs GROUP BY error": "reason?",
    "SELECT worker, avg(runtime) FROM runs GROUP BY worker": "trial_s?",
    'SELECT * FROM runs WHERE state = "failed"': "a text stands in single quotes: 'failed'",
    "SELECT commit FROM leaderboard": "commit of proposals, claims or commits?",
    "SELECT score FROM proposals": "did you mean mean of leaderboard or lineage?",
    "SELECT started FROM proposals": "started_at of runs",
    "SELECT costs FROM agents": "did you mean usd of runs",
    'SELECT value, "trial_id" FROM runs': "did you mean run?",
    'SELECT * FROM runs WHERE state IN ("scored", "failed")': "a text stands in single quotes: 'scored'",
    "SELECT max(memory) FROM runs": "peak_memory_mb?",
    "SELECT rate, value FROM runs": "FROM knobs WHERE name = 'LEARNING_RATE'?",
    "SELECT startTime FROM runs": "started_at?",
    "SELECT TOP 5 * FROM leaderboard": "write LIMIT 5 at the end",
    "SHOW COLUMNS FROM runs": "write DESCRIBE runs",
    "SHOW VIEWS": "SHOW TABLES lists the views",
    ".tables": "write SHOW TABLES",
    "PRAGMA table_info('runs')": "write DESCRIBE runs",
    # a data scientist who knows optuna, mlflow and wandb
    "SELECT * FROM trials": "runs?",
    "SELECT study_name, best_value FROM studies": "arenas?",
    "SELECT trial, value FROM runs": "did you mean run?",
    "SELECT step, loss FROM history": "frontier?",
    "SELECT loss FROM runs": "did you mean value?",
    "SELECT summary FROM runs": "FROM runs JOIN metrics USING (arena, run)",
    "SELECT config FROM runs": "FROM runs JOIN knobs USING (arena, proposal)",
    "SELECT user_attrs FROM runs": "FROM runs JOIN knobs",
    "SELECT run_uuid, value FROM metrics": "did you mean run?",
    "SELECT sampler, max(value) FROM runs GROUP BY sampler": "origin_name of proposals?",
    "SELECT val_acc FROM runs": "FROM metrics WHERE name = 'val_accuracy'?",
    "SELECT datetime_start FROM runs": "started_at?",
    "SELECT generation, mean FROM leaderboard": "did you mean seq of",
    "SELECT key, value FROM metrics": "did you mean name?",
    "FROM latest_metrics": "did you mean metrics?",
    "SELECT params_lr FROM runs": "FROM knobs WHERE name = 'LR'?",
    "SELECT params.lr, value FROM runs": 'no "params" after FROM; "lr" is a knob; did you mean FROM knobs WHERE name',
    "SELECT metrics.value FROM runs": "did you mean FROM runs JOIN metrics USING (arena, run)?",
    "SELECT df.score FROM leaderboard": "it has leaderboard, or their aliases",
    "SELECT objective FROM arenas": "did you mean metric?",
    "SELECT prompt FROM model_calls": "did you mean prompt_bytes?",
    "SELECT hour(time) FROM runs": "did you mean requested_at?",
    "SELECT champion FROM proposals": "did you mean state = 'champion'?",
    "FROM leaderboard WHERE is_champion": "did you mean state = 'champion'?",
    "runs.head()": "write FROM runs LIMIT 5, or SUMMARIZE runs",
    "PIVOT knobs ON name USING first(number)": "PIVOT knobs ON name IN ('LR') USING first(number)",
    # names of queries inside of the statement
    "WITH b AS (SELECT proposal, max(value) AS m FROM runs GROUP BY 1) SELECT score FROM b": (
        'no column "score" in b; its columns are proposal, m'
    ),
    "WITH b AS (SELECT min(value) AS best_loss FROM runs) SELECT best_los FROM b": "in b; did you mean best_loss?",
    "WITH b AS (SELECT score AS s FROM runs) SELECT s FROM b": "in runs; did you mean value?",
    "SELECT x.score FROM (SELECT value FROM runs WHERE state = 'a(b') x": "in x; did you mean value?",
    "SELECT title FROM proposals WHERE proposal IN (SELECT proposal FROM runs WHERE score < 1)": (
        "in runs; did you mean value?"
    ),
    "WITH a AS (SELECT 1 AS one), b AS (FROM a SELECT one AS two) SELECT three FROM b": "in b; its columns are two",
    # a manager
    "SELECT sum(cost) FROM runs": "usd?",
    "SELECT agent, sum(usd) FROM cost GROUP BY agent": "who?",
    "SELECT * FROM champion": "champions?",
    "SELECT * FROM projects": "arenas?",
    "SELECT * FROM spending": "cost?",
    "SELECT improvement FROM leaderboard": "gain of frontier",
    "SELECT created_at FROM proposals": "time?",
    "SELECT gpu, count(*) FROM runs GROUP BY gpu": "worker_class?",
    "SELECT baseline FROM leaderboard": "WHERE origin = 'baseline'?",
}


@pytest.mark.parametrize("sql", GUESSED)
async def test_a_guess_is_answered_with_what_was_meant(sql: str, queries: SqlServer) -> None:
    assert GUESSED[sql] in await refused(queries, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT best FROM leaderboard",
        "FROM knobs",
        "FROM metrics",
        "FROM scores",
        "DESC runs",
        "PIVOT knobs ON name IN ('LR') USING first(number)",
        "SELECT * FROM runs WHERE finished_at > now() - INTERVAL 1 HOUR",
        "SELECT date_trunc('hour', finished_at) AS h, count(*) FROM runs GROUP BY 1 ORDER BY 1",
        "SELECT name, avg(value), stddev(value) FROM metrics GROUP BY name",
        "SELECT corr(r.value, k.number) FROM runs r JOIN knobs k USING (arena, proposal)",
        "SELECT author, count(*) FROM proposals GROUP BY author ORDER BY 2 DESC",
    ],
)
async def test_a_guess_works(sql: str, queries: SqlServer) -> None:
    assert (await queries.answer(Query(sql))).columns


async def test_what_nothing_resembles_is_answered_with_what_there_is(queries: SqlServer) -> None:
    assert "its columns are arena, lane, name, proposal, run, seed" in await refused(
        queries, "SELECT xyzzy FROM metrics"
    )
    assert await refused(queries, "FROM xyzzy") == f'there is no view "xyzzy"; there are {", ".join(sorted(PROMISED))}'


async def test_show_tables_lists_the_promised_views_and_nothing_else(queries: SqlServer) -> None:
    assert [row[0] for row in await rows(queries, "SHOW TABLES")] == sorted(PROMISED)
    assert sorted(promised_views()) == sorted(PROMISED)
    assert await rows(queries, "SELECT count(*) > 0 FROM internal.facts") == [[True]]


async def test_every_word_of_ours_is_a_view_or_a_column(queries: SqlServer) -> None:
    columns = await rows(queries, "SELECT column_name, table_name FROM information_schema.columns")
    names, views = {row[0] for row in columns}, {row[1] for row in columns}
    assert {ours for _, all_ours in COLUMN_WORDS for ours in all_ours.split()} <= names
    assert {KNOB_WORDS[0], METRIC_WORDS[0]} <= views
    for _, ours in VIEW_WORDS:
        await queries.answer(Query(f"FROM {ours}"))
    for where in CLOSED_WORDS:
        view, _, column = where.partition(".")
        await queries.answer(Query(f"SELECT {column} FROM {view}"))
    known = {word for words in CLOSED_WORDS.values() for word in words.split()}
    assert {word for _, all_ours in STATE_WORDS for word in all_ours.split()} <= known


def test_the_words_of_a_column_are_those_that_the_page_names() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "views.md").read_text(encoding="utf-8")
    for where, words in CLOSED_WORDS.items():
        view, _, column = where.partition(".")
        [section] = re.findall(rf"\n## `{view}`\n(.*?)(?=\n## |\Z)", page, re.DOTALL)
        [meaning] = re.findall(rf"^\| `{column}` \| VARCHAR \| (.*) \|$", section, re.MULTILINE)
        named = {word for text in re.findall(r"`([^`]+)`", meaning) for word in text.split()}
        assert named == set(words.split()), where


ODD = {
    "SELECT count(*) FROM runs WHERE state = 'completed'": "never 'completed'; did you mean 'scored'? It is req",
    "SELECT count(*) FROM runs WHERE state IN ('scored', 'crashed')": "never 'crashed'; did you mean 'failed'?",
    "FROM leaderboard WHERE state = 'winner'": "did you mean 'champion'?",
    "FROM proposals WHERE origin <> 'llm'": "origin is never 'llm'; did you mean 'model'?",
    "FROM runs r JOIN proposals p USING (proposal) WHERE p.state = 'rejected'": "did you mean 'retired'?",
    "FROM runs WHERE lane = 'xyzzy'": "lane is never 'xyzzy'; it is explore, confirm, control, audit or sealed",
    "FROM runs WHERE state = 'failed' AND lane = 'explore'": "",
    "FROM cost WHERE what = 'failed call'": "",
    "SELECT 'state = ' || state FROM runs": "",
    "FROM runs -- state = 'done'": "",
    "FROM runs /* WHERE state = 'done' */": "",
    "SELECT 'the words state = ''done'' mean nothing' FROM runs": "",
    "SELECT 'state = ' || 'x' FROM runs": "",
    "SELECT $$state = 'done'$$ FROM runs": "",
    "FROM runs WHERE lower(state) = 'done'": "did you mean 'scored'?",
    "FROM proposals WHERE proposal = 'champion'": "did you mean state = 'champion'?",
    "FROM leaderboard WHERE proposal = 'baseline'": "did you mean origin = 'baseline'?",
    "FROM runs WHERE proposal = 'champion'": "proposal IN (FROM proposals SELECT proposal WHERE state = 'champion')?",
    "FROM runs WHERE proposal = 'abc'": "",
}


@pytest.mark.parametrize("sql", ODD)
async def test_a_word_that_a_column_never_has_is_remarked(sql: str, queries: SqlServer) -> None:
    remark = (await queries.answer(Query(sql))).remark
    assert (ODD[sql] in remark) if ODD[sql] else remark == ""


NOWHERE = {
    "SELECT * FROM knobs WHERE name = 'dropout'": "no knob is named 'dropout'; did you mean 'train.dropout'?",
    "SELECT number FROM knobs k WHERE k.name = 'Dropout' AND k.number > 0": "did you mean 'train.dropout'?",
    "SELECT count(*) FROM knobs WHERE name IN ('dropout', 'nothing')": "did you mean 'train.dropout'?",
    "SELECT max(value) FROM metrics WHERE name = 'acc'": "did you mean 'val_accuracy'?",
    "FROM runs JOIN metrics USING (arena, run) WHERE name = 'accuracy'": "no number of runs is named 'accuracy'",
    "FROM knobs WHERE name = 'train.dropuot'": "did you mean 'train.dropout'?",
    "FROM knobs WHERE name = 'zzz'": "no knob is named 'zzz'; there are ",
    # what is there, what found rows, and what has no such column gets no remark
    "FROM knobs WHERE name = 'train.dropout'": "",
    "FROM knobs WHERE name = 'train.dropout' AND number > 9": "",
    "FROM knobs WHERE name = 'dropout' OR number > 0": "",
    "SELECT 'dropout' AS name FROM runs WHERE 1 = 0": "",
    "FROM workers WHERE worker = 'dropout'": "",
}


@pytest.mark.parametrize("sql", NOWHERE)
async def test_a_name_that_is_nowhere_in_the_log_is_answered_with_those_that_are(sql: str, queries: SqlServer) -> None:
    remark = (await queries.answer(Query(sql))).remark
    assert (NOWHERE[sql] in remark) if NOWHERE[sql] else remark == ""
    for name in re.findall(r"'([^']+)'\?", remark):
        assert (await queries.answer(Query(f"FROM knobs WHERE name = '{name}' LIMIT 1"))).rows or name == "val_accuracy"
