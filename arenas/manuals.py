"""Reads the manuals that Debian packages carry as HTML: sections with page, title and text, and the authors' own index.

`arenas/nanolm/make_text.py` makes the text of nanolm with it, `arenas/search/make_data.py` the data of search. It needs
the standard library alone. The packages come by `apt-get download python3.11-doc postgresql-doc-15`; the sums below
name the ones that were used.
"""

import hashlib
import io
import re
import sys
import tarfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

PACKAGES = {
    "python": (
        "python3.11-doc_3.11.2-6+deb12u9_all.deb",
        "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be",
        "usr/share/doc/python3.11/html/",
    ),
    "postgresql": (
        "postgresql-doc-15_15.20-0+deb12u1_all.deb",
        "4c44bf2c599f208b3f46454a6cf7a72e25ec46ff74d37b59dd31ad76b00eebb7",
        "usr/share/doc/postgresql-doc-15/html/",
    ),
}
"""Manual: file name of its package, the sha256 of that file, and the folder of its pages inside."""
_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}
_SKIPPED_TAGS = {"head", "nav", "script", "style", "title"}
_SKIPPED_CLASSES = {"headerlink", "navfooter", "navheader", "related", "sphinxsidebar", "toc", "footer", "clearer"}
_SECTIONS = {"appendix", "chapter", "part", "preface", "refentry", "sect1", "sect2", "sect3", "sect4", "sect5"}
_BLOCKS = {"blockquote", "dd", "div", "dl", "dt", "li", "ol", "p", "section", "table", "td", "th", "tr", "ul"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}


class Section(NamedTuple):
    """A part of a page with a heading of its own, without the parts below it.

    `prose` are paragraphs, items and cells as single lines, `code` the listings as they are printed. `anchors` are the
    ids inside, to which an index points as `page#anchor`.
    """

    page: str
    title: str
    prose: tuple[str, ...]
    code: tuple[str, ...]
    anchors: tuple[str, ...]


def pages(package: Path, manual: str) -> Iterator[tuple[str, str]]:
    """Yield name and HTML of every page of a manual, in the order of their names.

    Raises:
        SystemExit: the file is another one than `PACKAGES` names.
    """
    name, expected, folder = PACKAGES[manual]
    data = package.read_bytes()
    if (found := hashlib.sha256(data).hexdigest()) != expected:
        sys.exit(f"{package} has the sha256 {found}, but {name} has {expected}: download that version")
    with tarfile.open(fileobj=io.BytesIO(_member(data, "data.tar.xz"))) as tar:
        members = {m.name.removeprefix("./").removeprefix(folder): m for m in tar if m.isfile()}
        for page in sorted(members):
            if page.endswith(".html") and not page.startswith("usr/"):
                file = tar.extractfile(members[page])
                assert file is not None
                yield page, file.read().decode()


def sections(page: str, html: str) -> list[Section]:
    """Return the sections of a page in their order."""
    reader = _Reader(page)
    reader.feed(html)
    reader.close()
    return reader.sections()


def index_terms(html: str) -> dict[str, list[str]]:
    """Return the terms of an index page (`genindex-all.html`, `bookindex.html`) with the targets of their links.

    A term below another one follows it: "string literal" under "quotes" is "quotes string literal".
    """
    reader = _IndexReader()
    reader.feed(html)
    reader.close()
    return reader.terms


def _member(data: bytes, wanted: str) -> bytes:
    """Return a member of an `ar` archive, which a Debian package is."""
    place = 8
    while place < len(data):
        header = data[place : place + 60]
        size = int(header[48:58])
        if header[:16].decode().strip().rstrip("/") == wanted:
            return data[place + 60 : place + 60 + size]
        place += 60 + size + size % 2
    sys.exit(f"the package has no member {wanted}")


def _line(parts: list[str]) -> str:
    return re.sub(r"\s+", " ", "".join(parts)).strip()


class _Open(NamedTuple):
    """An element that is open: its tag, whether it and all below is skipped, and whether it is a section."""

    tag: str
    skipped: bool
    section: bool


class _Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.page = page
        self.open: list[_Open] = []
        self.parts: list[tuple[list[str], list[str], list[str], list[str]]] = []  # title, prose, code, anchors
        self.path: list[int] = []
        self.words: list[str] = []
        self.listing = False

    def sections(self) -> list[Section]:
        self._end_block()
        return [Section(self.page, _line(t), tuple(p), tuple(c), tuple(a)) for t, p, c, a in self.parts]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        classes = set((values.get("class") or "").split())
        outer = bool(self.open) and self.open[-1].skipped
        skipped = outer or tag in _SKIPPED_TAGS or bool(classes & _SKIPPED_CLASSES)
        section = not skipped and (tag == "section" or (tag == "div" and bool(classes & _SECTIONS)))
        if tag in _BLOCKS | _HEADINGS | {"pre"} and not skipped:
            self._end_block()
        if section:
            self.path.append(len(self.parts))
            self.parts.append(([], [], [], []))
        if self.path and not skipped and values.get("id"):
            self.parts[self.path[-1]][3].append(values["id"] or "")
        if tag == "pre" and not skipped:
            self.listing = True
        if tag == "br" and not skipped:
            self.words.append("\n" if self.listing else " ")
        if tag not in _VOID:
            self.open.append(_Open(tag, skipped, section))

    def handle_endtag(self, tag: str) -> None:
        while any(opened.tag == tag for opened in self.open):
            opened = self.open.pop()
            if not opened.skipped and opened.tag in _BLOCKS | _HEADINGS | {"pre"}:
                self._end_block(opened.tag)
            if opened.section:
                self.path.pop()
            if opened.tag == tag:
                return

    def handle_data(self, data: str) -> None:
        if self.path and not (self.open and self.open[-1].skipped):
            self.words.append(data)

    def _end_block(self, tag: str = "") -> None:
        words, self.words = self.words, []
        listing = self.listing
        if tag == "pre":
            self.listing = False
        text = _line(words)
        if not text or not self.path:
            return
        title, prose, code, _ = self.parts[self.path[-1]]
        if tag in _HEADINGS and not title:
            title.append(text)
        elif listing:
            code.append("".join(words).strip("\n"))
        else:
            prose.append(text)


class _IndexReader(HTMLParser):
    """Lists of an index: `<li>` or `<dt>` is a term, a list inside of it (or in the `<dd>` after it) is below it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.terms: dict[str, list[str]] = {}
        self.path: list[str] = []
        self.words: list[str] = []
        self.linked: list[str] = []
        self.targets: list[str] = []
        self.reading = self.in_link = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in ("ul", "dl"):
            self._end_term()
            self.path.append("")
        elif tag in ("li", "dt") and self.path:
            self._end_term()
            self.path[-1], self.reading = "", True
        elif tag == "a" and self.reading:
            self.in_link = True
            if values.get("href"):
                self.targets.append(values["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("li", "dt", "ul", "dl"):
            self._end_term()
        if tag in ("ul", "dl") and self.path:
            self.path.pop()
        if tag == "a":
            self.in_link = False

    def handle_data(self, data: str) -> None:
        if self.reading:
            (self.linked if self.in_link else self.words).append(data)

    def _end_term(self) -> None:
        if not self.reading:
            return
        # In a book's index the titles of the places are links, after the term; in Python's the term is the first link.
        own = _line(self.words).strip(" ,") or re.sub(r"(\[\d+\])+$", "", _line(self.linked)).strip()
        self.path[-1] = own
        term = " ".join(word for word in self.path if word)
        if self.targets and term:
            self.terms.setdefault(term, []).extend(self.targets)
        self.words, self.linked, self.targets, self.reading = [], [], [], False
