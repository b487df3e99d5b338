"""The report in Markdown, for a repository or an issue; the picture is a file of its own (`-o report.png`).

Every text is escaped here: none of it can become HTML, a link or a table of its own.
"""

import re

from analytics.report.blocks import Block, Change, Table
from analytics.report.document import Document

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!@])")


def markdown(document: Document) -> str:
    """Return the report as GitHub's Markdown."""
    parts = [f"# {plain(document.title)}", plain(document.summary), f"**{plain(document.verdict)}**"]
    for section in document.sections:
        parts.append(f"## {plain(section.title)}")
        parts += (_block(block) for block in section.blocks)
    return "\n\n".join(filter(None, [*parts, plain(document.footer)])) + "\n"


def plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", text)


def _block(block: Block) -> str:
    match block:
        case Table():
            rule = "|".join(":--" if place in block.words else "--:" for place in range(len(block.header)))
            rows = [f"| {' | '.join(map(plain, cells))} |" for cells in (block.header, *block.rows)]
            more = f"\n\n… and {block.more:,} more" if block.more else ""
            return "\n".join([rows[0], f"|{rule}|", *rows[1:]]) + more
        case Change():
            knobs = "\n".join(f"* {plain(knob)}" for knob in block.knobs)
            return "\n\n".join(filter(None, [f"### {plain(block.heading)}", plain(block.about), knobs, _diff(block)]))
        case _:
            return plain(block)


def _diff(change: Change) -> str:
    lines = [text if sign == "@" else f"{sign}{text}" for sign, text in change.diff.lines]
    if not lines:
        return ""
    if change.diff.left_out:
        lines.append(f"… and {change.diff.left_out:,} more lines")
    # Indented code has no fence that a line of it could close.
    return "\n".join(f"    {line}" for line in lines)
