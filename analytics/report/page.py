"""The report as one HTML file: style and picture are inside, there is no script.

Every text is escaped here, except for the pictures. The page follows the light or dark scheme of the reader.
"""

from html import escape
from pathlib import Path

from analytics.report.document import Document
from analytics.report.elements import Block, ChangeBlock, Section, TableBlock


def html(document: Document, picture: str, narrow: str = "") -> str:
    """Return the page.

    Args:
        document: what it says.
        picture: an SVG element, or "" for none.
        narrow: the same for a phone; "" where that shows `picture`, smaller.
    """
    style = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
    pictures = {"broad" if narrow else "": picture, "narrow": narrow}
    drawn = "".join(
        f'<div role="img" class="{name}" aria-label="{escape(document.headline)}">{drawing}</div>'
        for name, drawing in pictures.items()
        if drawing
    )
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">",
        f"<title>{escape(document.title)}</title>\n<style>\n{style}</style>\n</head>\n<body>",
        f'<header><h1>{escape(document.title)}</h1><p class="summary">{escape(document.summary)}</p>',
        f'<p class="headline">{escape(document.headline)}</p>',
        *(f"<p>{escape(remark)}</p>" for remark in document.remarks),
        "</header>",
        f"<figure>{drawn}<figcaption>{escape(document.picture)}</figcaption></figure>",
        *map(_section, document.sections),
        f"<footer>{escape(document.footer)}</footer>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return f"<section>\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>"


def _block(block: Block) -> str:
    match block:
        case TableBlock():
            return _table(block)
        case ChangeBlock():
            return _change(block)
        case _:
            return f"<p>{escape(block)}</p>"


def _table(table: TableBlock) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        kinds = (' class="word"' if place in table.words else "" for place in range(len(cells)))
        marked = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
        return f"<tr>{''.join(marked)}</tr>"

    body = "\n".join(row(cells, "td") for cells in table.rows)
    more = f'<p class="more">… and {table.more:,} more</p>' if table.more else ""
    return (
        f'<div class="wide"><table><thead>{row(table.header, "th")}</thead>\n<tbody>{body}</tbody></table></div>{more}'
    )


def _change(change: ChangeBlock) -> str:
    knobs = "".join(f"<li>{escape(knob)}</li>" for knob in change.knobs)
    tags = {"+": ("<ins>+ ", "</ins>"), "-": ("<del>− ", "</del>"), "@": ('<b class="file">', "</b>")}
    lines = "".join(f"{tags[sign][0]}{escape(text)}{tags[sign][1]}" for sign, text in change.diff.lines)
    if change.diff.left_out:
        lines += f'<b class="file">… and {change.diff.left_out:,} more lines</b>'
    return (
        f'<h3>{escape(change.heading)}</h3>\n<p class="about">{escape(change.about)}</p>'
        + (f'<ul class="knobs">{knobs}</ul>' if knobs else "")
        + (f"<pre>{lines}</pre>" if lines else "")
    )
