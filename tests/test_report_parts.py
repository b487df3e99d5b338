"""A report of many runs reads them in parts, with the same numbers as one that reads each."""

import re
from itertools import accumulate
from pathlib import Path

import anyio
import pytest

from analytics.report import queries as report_queries
from analytics.report.document import document
from analytics.report.progress import svg
from tests.support.research import Research
from tests.test_report import facts_in


def test_many_runs_are_read_in_parts_and_every_number_of_the_report_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Research(2500).fold(tmp_path / "a.duckdb")
    many = anyio.run(facts_in, file)
    monkeypatch.setattr(report_queries, "RUNS_SINGLY", 100)
    monkeypatch.setattr(report_queries, "RUN_PARTS", 50)
    thinned = anyio.run(facts_in, file)
    assert len(thinned.runs) < len(many.runs) / 3
    assert thinned.is_thinned
    assert not many.is_thinned
    assert thinned.finished == many.finished == len(many.runs)
    whole, parts = document(many, {}, "0"), document(thinned, {}, "0")
    assert parts.headline == whole.headline
    assert parts.sections == whole.sections
    assert f"Of {many.finished:,} runs {len(thinned.runs):,} are drawn" in parts.picture
    sign = many.goal.sign
    bests = [
        [*dict.fromkeys(accumulate((sign * run.value for run in data.runs if run.value is not None), max))]
        for data in (many, thinned)
    ]
    assert bests[0] == bests[1]
    legends = [re.findall(r"\((\d[\d,]*)\)", svg(data)) for data in (many, thinned)]
    assert legends[0] == legends[1]
    assert [p.after_runs for p in thinned.promotions] == [p.after_runs for p in many.promotions]
