"""Files of results of other loops: what their columns mean, which rows were kept, and which way is better."""

import json

import pytest

from mesh.errors import BadInput
from mesh_cli.history.history_noise import history_noise
from mesh_cli.history.import_results import judged_gains
from mesh_cli.history.imported_code import identity, patched
from mesh_cli.history.result_columns import AskedColumns
from mesh_cli.history.result_rows import Experiment, ForeignHistory, read_history
from mesh_cli.history.result_values import megabytes_of, number_of, seconds_of, status_of, time_of

TAB = "commit\tval_bpb\tmfu\tstatus\tdescription\n"


def read(text: str, name: str = "results.tsv", **asked: object) -> ForeignHistory:
    return read_history(text.encode(), name, **asked)  # type: ignore[arg-type]


def told(found: ForeignHistory) -> list[tuple[str, float | None, str]]:
    return [(row.status, row.value, row.title) for row in found.rows]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", 0.5),
        ("**0.4558**", None),
        ("+261.0", 261.0),
        ("−0.997", -0.997),
        ("5.3 GB", 5.3),
        ("66.7%", 66.7),
        ("1,234", 1234.0),
        ("113848 ns/op", 113848.0),
        ("1e-4", 1e-4),
        (".5", 0.5),
        ("-999.000", None),
        ("nan", None),
        ("inf", None),
        ("-", None),
        ("1e999", None),
        ("4e2524d", None),
        ("crash", None),
    ],
)
def test_numbers_have_units_and_gaps_are_no_numbers(text: str, number: float | None) -> None:
    assert number_of(text) == number


def test_statuses_have_no_case() -> None:
    kept = "keep KEEP PASS ok improvement PROMOTE baseline best Kept true"
    failed = "crash FAIL failed tests_failed checks-failed timeout"
    assert {status_of(word) for word in kept.split()} == {"keep"}
    assert {status_of(word) for word in failed.split()} == {"crash"}
    assert {status_of(word) for word in ["discard", "REVERT", "no-op", "keep-candidate", "false"]} == {"discard"}
    assert [status_of(gap) for gap in ("", "-", "0.5")] == [""] * 3


def test_times_and_memory_have_the_unit_of_their_cell_or_column() -> None:
    assert [seconds_of("90", "elapsed_ms"), seconds_of("1.5 min", "time"), seconds_of("-", "seconds")] == [0.09, 90, 0]
    assert [megabytes_of("2", "peak_vram_mb"), megabytes_of("5.3 GB", "Memory"), megabytes_of("2", "memory")] == [
        2.0,
        pytest.approx(5427.2),
        None,
    ]
    times = [
        time_of(text) for text in ("2026-03-30 09:07:11", "2026-03-30T11:07:11+02:00", "1774861631", "1774861631000")
    ]
    assert {time.isoformat() for time in times if time} == {"2026-03-30T09:07:11+00:00"}
    assert len([time for time in times if time]) == 4
    assert [time_of("12"), time_of("soon")] == [None, None]


def test_columns_are_taken_by_their_names_and_a_third_one_is_no_memory() -> None:
    found = read(TAB + "a1\t1.3\t40.1\tKEEP\tbaseline\nb2\t1.2\t41\tkeep\tb\nc3\tnan\t\tcrash\tc\nd4\t1.4\n")
    assert (found.roles.metric, found.roles.memory, found.roles.numbers) == ("val_bpb", "", ("mfu",))
    assert [row.metrics for row in found.rows] == [{"mfu": 40.1}, {"mfu": 41.0}, {}, {}]
    assert told(found) == [("keep", 1.3, "baseline"), ("keep", 1.2, "b"), ("crash", None, "c"), ("discard", 1.4, "d4")]
    assert [row.memory_mb for row in found.rows] == [None] * 4


def test_a_file_without_header_needs_names_unless_it_is_one_of_autoresearch() -> None:
    standard = "a1\t1.3\t8\tkeep\tbaseline\nb2\t1.2\t8\tkeep\tb\n"
    assert told(read(standard)) == [("keep", 1.3, "baseline"), ("keep", 1.2, "b")]
    bare = "8\t-\t35261\t+14\tdiscard\tcombine checks\n9\tf00d\t9546\t-24\tkeep\tflat event\n"
    with pytest.raises(BadInput, match=r"no header .* --columns id,-,metric,-,status,description"):
        read(bare)
    names = ("id", "commit", "metric", "-", "status", "description")
    found = read(bare, columns=names, asked=AskedColumns(metric="gas"))
    assert (found.roles.metric_name, found.direction, found.roles.numbers) == ("gas", "minimize", ())
    assert told(found) == [("discard", 35261.0, "combine checks"), ("keep", 9546.0, "flat event")]


def test_remarks_say_the_direction_and_are_no_rows() -> None:
    text = "# metric_direction: higher_is_better\n# goal: a, b, c\niteration\tcommit\tmetric\tstatus\tdescription\n"
    found = read(
        text + "0\tabc\t14\tbaseline\tx\n# later\n1\t-\t18\tno-op\tno changes made\n2\t-\t18\tno-op\tno changes made\n"
    )
    assert (found.direction, found.why_direction) == ("maximize", "the file says higher_is_better")
    assert len({identity(row) for row in found.rows}) == 3


def test_json_lines_have_dotted_names_a_configuration_and_booleans() -> None:
    lines: list[dict[str, object]] = [
        {"type": "config", "metricName": "total_µs", "bestDirection": "lower"},
        {
            "run": 1,
            "commit": "a",
            "metric": 9,
            "metrics": {"p": {"q": 5}},
            "status": "keep",
            "timestamp": 1773348490227,
        },
        {"run": 2, "commit": "a", "metric": 0, "metrics": {"p": {"q": 0}}, "status": "checks_failed"},
        {"type": "hook", "note": None},
    ]
    found = read("\n".join(map(json.dumps, lines)), "autoresearch.jsonl")
    assert (found.roles.metric_name, found.direction) == ("total_µs", "minimize")
    assert [(row.value, row.metrics, row.at is not None) for row in found.rows] == [
        (9.0, {"metrics.p.q": 5.0}, True),
        (None, {"metrics.p.q": 0.0}, False),
    ]
    assert found.table.notes == ("1 lines of autoresearch.jsonl are no experiments",)
    best = [
        {"iteration": n, "m": {"composite_score": v, "trades": 4}, "is_best": b}
        for n, v, b in ((1, 3, True), (2, 2, False))
    ]
    assert told(read("\n".join(map(json.dumps, best)), "e.jsonl")) == [("keep", 3.0, "1"), ("discard", 2.0, "2")]
    with pytest.raises(BadInput, match=r"e.jsonl line 2: not valid JSON"):
        read('{"score": 1}\n{"score": \n', "e.jsonl")


def test_a_file_with_parts_that_have_several_metrics_takes_the_one_that_is_named() -> None:
    text = "".join(
        json.dumps({"type": "config", "metricName": name, "bestDirection": "lower"})
        + "\n"
        + json.dumps({"run": 1, "metric": value, "status": "keep", "description": name})
        + "\n"
        for name, value in (("size_kb", 70), ("time_ms", 5))
    )
    with pytest.raises(BadInput, match=r"several metrics \(size_kb, time_ms\): name one with --metric"):
        read(text, "a.jsonl")
    assert told(read(text, "a.jsonl", asked=AskedColumns(metric="time_ms"))) == [("keep", 5.0, "time_ms")]


def test_the_table_of_a_markdown_file_that_holds_results_is_taken() -> None:
    text = r"""# Session
| Change | Reason |
|---|---|
| `a` | b |
| c | d |

| # | Commit | val_bpb | VRAM GB | Status | Change |
|---|:--|---:|---|---|---|
| baseline | `5f5c6dd` | 0.47 | 3.9 | **keep** | start \| here |
| 1 | [049544b](https://example.org/c) | **0.46** | 3.9 GB | keep | 2\*\*16 → 2\*\*14 |
| 2 | `7c7ce21` | crash | 0.0 | crash | OOM |
| 3 | `4008453` | *pending* | — | — | not run |
"""
    found = read(text, "RESULTS.md")
    assert [(row.commit, row.id) for row in found.rows][:2] == [("5f5c6dd", "baseline"), ("049544b", "1")]
    assert told(found) == [
        ("keep", 0.47, "start | here"),
        ("keep", 0.46, "2**16 → 2**14"),
        ("crash", None, "OOM"),
        ("crash", None, "not run"),
    ]
    assert found.rows[0].memory_mb == pytest.approx(3.9 * 1024)


def test_csv_cells_have_commas_quotes_and_lines() -> None:
    found = read('id,score,status,notes\n1,0.5,baseline,"a, ""b""\nc"\n2,0.7,best,d\n', "results.csv")
    assert told(found) == [("keep", 0.5, 'a, "b"\nc'), ("keep", 0.7, "d")]
    assert [row.raw for row in found.rows] == ['1,0.5,baseline,"a, ""b""\nc"', "2,0.7,best,d"]


def test_without_a_status_what_is_better_than_all_before_is_kept() -> None:
    found = read("loss,note\n3,a\n2,b\n2.5,c\n2,d\ncrash,e\n1,f\n", "log.csv")
    assert [row.status for row in found.rows] == ["keep", "keep", "discard", "discard", "crash", "keep"]


def test_what_is_not_clear_is_asked_for_in_a_sentence() -> None:
    with pytest.raises(BadInput, match=r"has several numbers: say which one is the metric: --metric speed"):
        read("speed,heat,note\n1,2,a\n", "a.csv")
    with pytest.raises(BadInput, match="does not say whether less or more zap is better: add --direction minimize"):
        read("commit\tzap\tstatus\na\t1\tkeep\n")
    with pytest.raises(BadInput, match=r"--metric is acuracy, but a.csv has no such column: did you mean accuracy?"):
        read("id,accuracy,status\na,1,keep\n", "a.csv", asked=AskedColumns(metric="acuracy"))
    with pytest.raises(BadInput, match=r"--status is state, but a.csv has no such column: it has id, accuracy"):
        read("id,accuracy\na,1\n", "a.csv", asked=AskedColumns(status="state"))
    # The name says more, what was discarded says less: nobody knows.
    rows = "a\t0.42\tkeep\nb\t0.61\tdiscard\nc\t0.36\tdiscard\nd\t0.49\tdiscard\n"
    with pytest.raises(BadInput, match="add --direction"):
        read("commit\tval_score\tstatus\n" + rows)


def test_the_noise_of_a_history_is_that_of_repeats_else_of_the_nearest_discards() -> None:
    repeats = history_noise([[1.0, 1.2, 0.8], [2.0, 2.2]], [])
    assert (repeats.source, repeats.dof) == ("repeats", 3)
    assert repeats.sd == pytest.approx(0.1826, abs=1e-4)
    discards = history_noise([], [-0.1, 0.02, -0.03, -0.5, -0.9, 0.04, -2.0])
    assert (discards.source, discards.dof) == ("discards", 6)
    assert discards.sd == pytest.approx(0.03 / 0.4506, rel=1e-3)
    assert discards.p_better(1.0) == pytest.approx(1.0, abs=1e-3)
    assert discards.p_better(0.0) == 0.5
    assert history_noise([], [0.1]).p_better(1.0) is None
    exact = history_noise([[1.0] * 4], [])
    assert [exact.p_better(gain) for gain in (1e-9, 0.0, -1e-9)] == [1.0, 0.5, 0.0]


def test_gains_of_a_real_shape_are_judged_by_the_discards_around_the_champion() -> None:
    values = [1.30, 1.31, 1.306, 1.34, 1.309, 1.312, 1.307]
    rows = "".join(f"c{n}\t{v}\t{'discard' if n else 'keep'}\tx{n}\n" for n, v in enumerate(values))
    found = read("commit\tval_bpb\tstatus\tdescription\n" + rows + "c8\t1.1\tkeep\tbig\nc9\t1.0995\tkeep\ttiny\n")
    noise, gains = judged_gains(found)
    sure = [noise.p_better(gain) for gain in gains[-2:] if gain is not None]
    assert sure[0] == pytest.approx(1.0, abs=1e-3)
    assert 0.5 < (sure[1] or 0) < 0.6


def test_a_diff_is_put_into_the_code_of_its_parent_or_refused() -> None:
    files = {"train.py": b"LR = 1\nWD = 2\n", "a.txt": b"a\n"}
    diff = "--- a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 1\n+LR = 3\n WD = 2\n"
    assert patched(files, diff) == {**files, "train.py": b"LR = 3\nWD = 2\n"}
    new = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
    assert patched(files, new) == {**files, "new.py": b"x = 1\n"}
    for wrong in (diff.replace("LR = 1", "LR = 7"), diff.replace("train.py", "none.py"), "words", ""):
        assert patched(files, wrong) is None


def test_experiments_of_one_commit_are_told_apart_by_their_words() -> None:
    rows = [Experiment(n, "", "abc", "", "keep", 1.0, title) for n, title in enumerate(("a", "b", "a"))]
    assert [identity(row) for row in rows] == [("abc", "", "a"), ("abc", "", "b"), ("abc", "", "a")]
