"""The elements of a report: sections, tables and steps of a lineage, for every format."""

from collections.abc import Sequence

import msgspec

from analytics.report.code_diff import Diff

ROWS = 60
"""Rows of a table."""
FEW = 12
"""Rows of a table of which the first rows matter most."""


class TableBlock(msgspec.Struct, frozen=True):
    """Rows of cells below a header; `more` rows are left out. Columns in `words` are text, others numbers."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    words: frozenset[int] = frozenset({0})
    more: int = 0


class ChangeBlock(msgspec.Struct, frozen=True):
    """One step of a lineage: its heading, a line about it, its knobs and its changed lines."""

    heading: str
    about: str
    knobs: list[str]
    diff: Diff


Block = str | TableBlock | ChangeBlock


class Section(msgspec.Struct, frozen=True):
    """A heading and the blocks below it."""

    title: str
    blocks: list[Block]


def table_block(
    header: str, rows: Sequence[tuple[str, ...]], words: set[int] | None = None, limit: int = ROWS
) -> TableBlock:
    """Return the first rows as a table; `header` has its columns between bars."""
    columns = tuple(part.strip() for part in header.split("|"))
    return TableBlock(columns, list(rows[:limit]), frozenset(words or {0}), max(0, len(rows) - limit))
