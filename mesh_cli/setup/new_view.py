"""What `mesh new` shows: which column is which, how the files were read, and what to do next. Pure."""

import math

from mesh.own_data.mapping import unneeded
from mesh.own_data.template import OwnTable
from mesh.text import printable
from mesh_cli.render.columns import Column, aligned
from mesh_cli.setup.new_arena import FoundTable, NewArena
from mesh_cli.setup.provable import POWER

_SEPARATORS = {"": "JSON lines", ",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_LISTED = 5


def table_lines(new: NewArena, width: int | None) -> list[str]:
    """Return the tables of a new arena with the owner's columns."""
    lines = []
    for name, found in new.tables.items():
        assert new.data is not None
        lines += ["", _headline(name, found), *_mapping(new.data.tables[name], found, width)]
        if rest := unneeded(found.columns.columns, found.text.header):
            lines.append(f"not used: {printable(', '.join(rest))}")
        left_out = found.checked.left_out
        lines += [f"left out: {printable(why)}" for why in left_out[:_LISTED]]
        if len(left_out) > _LISTED:
            lines.append(f"left out: {len(left_out) - _LISTED} more rows")
    return lines


def measured_lines(new: NewArena) -> list[str]:
    """Return what the data can show: split, base rate, the baseline on the proof part, and the smallest gain."""
    found = new.measured
    if found is None or new.data is None:
        return []
    metric = new.goal.metric
    items, clusters = len(found.items.values), found.items.cluster_count
    of = f"{items:,} {new.data.items}" + (f" of {clusters:,} {new.data.clusters}" if clusters else "")
    lines = ["", *map(printable, found.remarks)]
    if sealed := found.parts.get("sealed"):
        lines.append(f'sealed: only champions meet these {sealed:,} {new.data.items} (selection.sealed = "report")')
    lines.append(f"baseline: {metric} {found.score:.4f} on {of} (proof), standard error {found.noise.error:.4f}")
    by = "differences spread as the baseline's items do, for want of a reference"
    if found.reference is not None:
        by = f"reference: {metric} {found.score + new.goal.gain(found.reference):.4f}, better by {found.reference:+.4f}"
        by += f", standard error of the difference {found.difference.error:.4f}"
    lines.append(by)
    smallest = found.smallest_gain
    shown = "none; give more data"  # that of proof: a sealed part is for looks, not for tests
    if math.isfinite(smallest):
        shown = f"{smallest:.4f} {metric} (one-sided level {found.alpha:.2g}, power {POWER:g})"
    lines.append(f"smallest gain that these data prove: {shown}")
    return lines


def _headline(name: str, found: FoundTable) -> str:
    separator = _SEPARATORS.get(found.text.separator, repr(found.text.separator))
    encoding = {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252"}.get(found.text.encoding, found.text.encoding.upper())
    return f"{name}: {printable(found.text.path.name)}, {len(found.checked.rows):,} rows, {separator}, {encoding}"


def _mapping(own: OwnTable, found: FoundTable, width: int | None) -> list[str]:
    columns = [Column("column"), Column("yours"), Column("type", rank=1), Column("first value", rank=2, fills=True)]
    rows = []
    for name, column in own.columns.items():
        theirs = found.columns.columns.get(name)
        values = (row[name] for row in found.checked.rows if theirs and row[name] is not None)
        first = next(values, None)
        if theirs or column.required:
            rows.append(
                [name, printable(theirs or "-"), column.type, "" if first is None else printable(str(first), 60)]
            )
    absent = [name for name in own.columns if name not in found.columns.columns]
    lines = aligned(columns, rows, width)
    return lines + ([f"not there (optional): {', '.join(absent)}"] if absent else [])
