"""The report in Markdown, for a repository or an issue; the picture is a file of its own (`-o report.png`).

Every text is escaped here: none of it can become HTML, a link or a table of its own.
"""

import re

from analytics.report.document import Document
from analytics.report.elements import Block, ChangeBlock, TableBlock

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!@])")


def markdown(document: Document) -> str:
    """Return the report as GitHub's Markdown."""
    parts = [
        f"# {plain_markdown(document.title)}",
        plain_markdown(document.summary),
        f"**{plain_markdown(document.headline)}**",
        *(plain_markdown(remark) for remark in document.remarks),
    ]
    for section in document.sections:
        parts.append(f"## {plain_markdown(section.title)}")
        parts += (_block(block) for block in section.blocks)
    return "\n\n".join(filter(None, [*parts, plain_markdown(document.footer)])) + "\n"


def plain_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", text)


def _block(block: Block) -> str:
    match block:
        case TableBlock():
            rule = "|".join(":--" if place in block.words else "--:" for place in range(len(block.header)))
            rows = [f"| {' | '.join(map(plain_markdown, cells))} |" for cells in (block.header, *block.rows)]
            more = f"\n\n… and {block.more:,} more" if block.more else ""
            return "\n".join([rows[0], f"|{rule}|", *rows[1:]]) + more
        case ChangeBlock():
            knobs = "\n".join(f"* {plain_markdown(knob)}" for knob in block.knobs)
            return "\n\n".join(
                filter(None, [f"### {plain_markdown(block.heading)}", plain_markdown(block.about), knobs, _diff(block)])
            )
        case _:
            return plain_markdown(block)


def _diff(change: ChangeBlock) -> str:
    lines = [text if sign == "@" else f"{sign}{text}" for sign, text in change.diff.lines]
    if not lines:
        return ""
    if change.diff.left_out:
        lines.append(f"… and {change.diff.left_out:,} more lines")
    # Indented code has no fence that a line of it could close.
    return "\n".join(f"    {line}" for line in lines)
