"""Read the data of a report from the views of the projection, with the statements in `sql/`.

`report_data` gets a function that runs SQL; it neither opens a database nor knows a bus.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from analytics.report.data import NOTHING, FinishedRun, Goal, Kind, Measured, Participant, Promotion, ReportData, Step
from mesh.errors import BadInput
from mesh.events import KnobChange
from mesh.sql_protocol import quoted

Ask = Callable[[str], Awaitable[list[list[Any]]]]
"""Runs one statement and returns its rows."""
RUNS_SINGLY, RUN_PARTS = 20_000, 10_000
"""Up to so many runs are read one by one; more of them in so many parts, each with a row per kind of run."""


async def report_data(ask: Ask, arena: str) -> ReportData:
    """Return the data of the report of an arena.

    Args:
        ask: runs one statement and returns its rows.
        arena: the name of the arena.

    Raises:
        BadInput: the arena was never opened.
    """

    async def rows(name: str, **values: object) -> list[list[Any]]:
        return await ask(_statement(name, arena=quoted(arena), **values))

    if not (opened := await rows("arena")):
        raise BadInput(f"arena {arena} was never opened: there is nothing to report")
    goal = Goal(*opened[0])
    runs = [FinishedRun(*row) for row in await rows("runs", singly=RUNS_SINGLY, parts=RUN_PARTS)]
    ancestry, reigns = await rows("ancestry"), await rows("promotions")
    trees = {goal.base_tree, *(row[0] for row in ancestry), *(row[1] for row in reigns)}
    known = await rows("measured", trees=", ".join(map(quoted, sorted(trees))))
    measured = {tree: Measured(*values) for tree, *values in known}
    return ReportData(
        arena=arena,
        goal=goal,
        runs=runs,
        measured=measured,
        promotions=_promotions(reigns, measured, goal.sign),
        steps=[_step(row, measured) for row in {row[0]: row for row in ancestry}.values()],
        kinds=[Kind(*row) for row in await rows("kinds")],
        noise=await rows("noise"),
        states=await rows("states"),
        critics=await rows("critics"),
        cost=await rows("cost"),
        knobs=await rows("knobs"),
        failures=await rows("failures"),
        blocked=await rows("blocked"),
        screening=await rows("screening"),
        members=[Participant(*row) for row in await rows("members")],
        not_counted=await rows("not_counted"),
    )


def _statement(name: str, **values: object) -> str:
    text = (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", str(value))
    return text


def _promotions(rows: list[list[Any]], measured: dict[str, Measured], sign: int) -> list[Promotion]:
    found = []
    for number, (_, proposal, title, author, how, name, state, p_better, met, after) in enumerate(rows, 1):
        value, before = measured.get(proposal, NOTHING), measured.get(met or "", NOTHING)
        known = value.mean is not None and before.mean is not None
        gain = sign * (value.mean - before.mean) if known else None  # type: ignore[operator]
        kind = failure_kind(how, name)
        found.append(Promotion(number, after, proposal, title, author, kind, state, value, p_better, gain))
    return found


def _step(row: list[Any], measured: dict[str, Measured]) -> Step:
    proposal, title, author, how, name, rationale, commit, parents, knobs, state = row
    changes = msgspec.json.decode(knobs or "[]", type=tuple[KnobChange, ...])
    value, kind = measured.get(proposal, NOTHING), failure_kind(how, name)
    return Step(proposal, how or "", title, author, kind, rationale or "", commit, parents or [], changes, state, value)


def failure_kind(how: str | None, name: str | None) -> str:
    """Return a kind of author in a word or two: the sampler's or the model's own name where there is one."""
    return name or how or "unknown"
