"""Time stands beside score: seconds in every listing, and a word where the champion is much slower."""

import json
from pathlib import Path
from typing import Literal

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from analytics.report.document import document
from analytics.report.markdown import markdown
from analytics.report.queries import report_data
from mesh.events import AnyEvent, RunFinished, Scored
from mesh.jetstream import connect
from mesh.leaderboard import Ranking, leaderboard, slower_than_baseline
from mesh.slowness import seconds_text, slower_sentence
from mesh.sql_protocol import Query
from mesh.testing import SPEC, Log, git_hash
from mesh.wire import Post
from mesh_cli.__main__ import main
from mesh_cli.live.headline import busy_machine
from tests.support.folding import folded
from tests.support.history import T0, T1, finish, opened, promote, proposal, request
from tests.test_cli import serving


def facts(took_s: float, base_s: float = 5.0) -> list[AnyEvent]:
    return [
        opened(),
        proposal(T0, how="baseline"),
        proposal(T1, T0),
        request("r0", T0),
        request("r1", T1),
        request("r2", T1, 2),
        replace(finish("r0", T0, 3.0), trial_s=base_s),
        promote(T0, "", 1),
        replace(finish("r1", T1, 2.0), trial_s=took_s - 1),
        replace(finish("r2", T1, 2.0), trial_s=took_s + 1),
        promote(T1, T0, 2),
    ]


@pytest.mark.parametrize(
    ("champion_s", "baseline_s", "said"),
    [
        (49.0, 5.0, "a trial takes 49 s, 9.8 times as long as 5 s"),
        (0.3, 0.1, "a trial takes 0.3 s, 3.0 times as long as 0.1 s"),
        (9.9, 5.0, ""),
        (0.09, 0.01, ""),  # too little to tell it from a busy machine
        (1.0, 49.0, ""),
        (None, 5.0, ""),
        (5.0, None, ""),
        (5.0, 0.0, ""),  # an imported baseline has no time
    ],
)
def test_a_champion_is_called_slower_from_twice_the_time_on(
    champion_s: float | None, baseline_s: float | None, said: str
) -> None:
    sentence = slower_sentence(champion_s, baseline_s)
    assert sentence == (f"the champion is much slower than the baseline: {said}" if said else "")


def test_seconds_keep_three_digits() -> None:
    assert [seconds_text(value) for value in (None, 0.0, 0.00812, 1.0, 12.34, 1234.5)] == [
        *("-", "-", "0.00812", "1", "12.3", "1234")
    ]


def test_a_row_has_the_mean_seconds_of_its_trials() -> None:
    log = Log()
    for event in facts(49.0):
        log.add("ann", event)
    assert {row.proposal: row.trial_s for row in leaderboard(log.board)} == {T0: 5.0, T1: 49.0}
    assert slower_than_baseline(Ranking(log.board)).endswith("a trial takes 49 s, 9.8 times as long as 5 s")


def test_commands_show_seconds_and_call_a_slow_champion_slow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fill(url: str) -> None:
        async with connect(url) as hub:
            bus = await hub.arena("a", create=True)
            for event in facts(49.0):
                await bus.post(Post.new("ann", event))

    def mesh(*words: str) -> tuple[str, str]:
        with pytest.raises(SystemExit, match="0"):
            main(list(words))
        said = capsys.readouterr()
        return said.out, said.err

    with serving(tmp_path / "home") as url:
        anyio.run(fill, url)
        out, err = mesh("leaderboard")
        header, first, second = out.splitlines()
        place = header.index("seconds") + len("seconds")
        assert [line[:place].split()[-1] for line in (header, first, second)] == ["seconds", "49", "5"]
        assert err.splitlines() == [
            "champion: loss 2.0000, gain +1.0000 over the baseline 3.0000",
            "the champion is much slower than the baseline: a trial takes 49 s, 9.8 times as long as 5 s",
        ]
        assert [row["trial_s"] for row in json.loads(mesh("leaderboard", "--json")[0])] == [49.0, 5.0]
        assert "time: a trial takes 49 s (baseline 5 s, much slower)" in mesh("show", T1)[0].splitlines()
        assert "time: a trial takes 5 s (baseline 5 s)" in mesh("show", T0)[0].splitlines()


@pytest.mark.parametrize(("took_s", "is_slow"), [(49.0, True), (6.0, False)])
async def test_a_report_has_a_column_of_seconds(took_s: float, is_slow: bool, tmp_path: Path) -> None:
    async with folded(tmp_path / "mesh.duckdb", [("ann", event) for event in facts(took_s)]) as queries:

        async def ask(sql: str) -> list[list[object]]:
            return (await queries.answer(Query(sql, max_rows=100_000, timeout_s=60))).rows

        data = await report_data(ask, "a")
    text = markdown(document(data, {}, "1"))
    listed = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    header = next(cells for cells in listed if "seconds" in cells)
    rows = [cells for cells in listed if len(cells) == len(header) and cells[2].startswith("title")]
    place = header.index("seconds")
    assert [row[place] for row in rows] == ["5", f"{took_s:.3g}"]
    assert ("The champion is much slower than the baseline: a trial takes 49 s" in text) is is_slow


@pytest.mark.parametrize(
    ("counts", "budget_s", "cpu_s", "said"),
    [
        ("wall", 5.2, 0.7, "runs end by the clock and got 14% of one processor each: "),
        ("wall", 5.2, 4.9, ""),
        ("cpu", 5.2, 0.7, ""),
        ("wall", 300.0, 0.7, ""),  # they end long before
    ],
)
def test_gains_of_runs_that_end_by_the_clock_are_doubted_where_others_had_the_processor(
    counts: Literal["cpu", "wall"], budget_s: float, cpu_s: float, said: str
) -> None:
    log = Log(msgspec.structs.replace(SPEC, trial=msgspec.structs.replace(SPEC.trial, budget_s=budget_s)))
    log.open(tree="base")
    log.propose("base", how="baseline")
    log.propose("p")
    for tree in ("base", "p"):
        ended = RunFinished(
            run=log.request(tree), proposal=git_hash(tree), outcome=Scored(value=1.0), worker="w", worker_class="cpu",
            trial_s=5.0, cpu_s=cpu_s, budget_counts=counts,
        )  # fmt: skip
        log.add("w", ended)
    log.promote("base")
    assert busy_machine(log.board, 0) == ""  # nothing won yet
    log.promote("p")
    assert busy_machine(log.board, 0).partition("where")[0] == said
    assert busy_machine(log.board, log.board.seq) == ""
