"""How languages write comments and texts, by the suffix or the name of a file; one scanner for all of them."""

import re
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

_SLASH, _BLOCK, _HASH, _DASH = r"//[^\n]*", r"/\*.*?(?:\*/|\Z)", r"\#[^\n]*", r"--[^\n]*"
_DOUBLE, _SINGLE = r'"(?:\\.|[^"\\\n])*"?', r"'(?:\\.|[^'\\\n])*'?"
_TICK = r"`(?:\\.|[^`\\])*`?"
_TRIPLE = r'""".*?(?:"""|\Z)'
_CHAR = r"(?<![\w'])'(?:\\[^\n']*|[^'\\\n])'"
_WORD_HASH = r"(?<![^\s;&|(])\#[^\n]*"
_HEREDOC = r"<<-?[ \t]*(?P<mark>['\"]?)(?P<end>[A-Za-z_]\w*)(?P=mark)[^\n]*\n.*?(?:^[ \t]*(?P=end)[ \t]*$|\Z)"
_RAW_C = r'R"(?P<fence>[^()\\\s"]{0,16})\(.*?(?:\)(?P=fence)"|\Z)'
_RAW_RUST = r'(?<!\w)b?r(?P<hashes>#*)".*?(?:"(?P=hashes)|\Z)'
_REGEX = r"(?<=[=(,:\[!&|?{;\n])[ \t]*/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n]){0,100}\]|[^/\\\[\n]){1,200}/[a-z]*"


_SIGNS = ("# {}", "// {}", "-- {}", "; {}", "% {}", "! {}", "<!-- {} -->", "/* {} */")


class CommentStyle(NamedTuple):
    """Patterns of comments and of texts (strings, characters), and the family that writes constants alike."""

    family: str
    comments: tuple[str, ...]
    texts: tuple[str, ...]


def _c(*texts: str) -> CommentStyle:
    return CommentStyle("braces", (_SLASH, _BLOCK), (*texts, _DOUBLE, _CHAR))


_C, _JAVA = _c(_RAW_C), _c(_TRIPLE)
_SCRIPT = CommentStyle("braces", (_SLASH, _BLOCK), (_TICK, _DOUBLE, _SINGLE, _REGEX))
_SHELL = CommentStyle("shell", (_WORD_HASH,), (_HEREDOC, _DOUBLE.replace(r"\n", ""), r"'[^']*'?"))
_LISP = CommentStyle("lisp", (r";[^\n]*", r"\#\|.*?(?:\|\#|\Z)"), (_DOUBLE.replace(r"\n", ""),))
_PAGE = CommentStyle("page", (r"<!--.*?(?:-->|\Z)", _BLOCK), ())
_SHEET = CommentStyle("sheet", (_BLOCK,), (_DOUBLE, _SINGLE))
_PERCENT = CommentStyle("assign", (r"(?<!\\)%[^\n]*",), ())

_STYLES: dict[str, CommentStyle] = {
    **dict.fromkeys(
        [
            ".c",
            ".h",
            ".cc",
            ".cpp",
            ".cxx",
            ".c++",
            ".hh",
            ".hpp",
            ".hxx",
            ".cu",
            ".cuh",
            ".cl",
            ".ino",
            ".mm",
            ".metal",
            ".glsl",
            ".hlsl",
            ".wgsl",
        ],
        _C,
    ),
    **dict.fromkeys(
        [".java", ".kt", ".kts", ".scala", ".swift", ".cs", ".d", ".dart", ".groovy", ".gradle", ".zig", ".v", ".sv"],
        _JAVA,
    ),
    ".rs": _c(_RAW_RUST),
    ".go": _c(r"`[^`]*`?"),
    **dict.fromkeys([".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".php"], _SCRIPT),
    ".jl": CommentStyle("assign", (r"\#=.*?(?:=\#|\Z)", _HASH), (_TRIPLE, _DOUBLE, _CHAR)),
    **dict.fromkeys((".r", ".rb", ".pl", ".nim", ".ex", ".exs"), CommentStyle("assign", (_HASH,), (_DOUBLE, _SINGLE))),
    ".lua": CommentStyle("assign", (r"--\[\[.*?(?:\]\]|\Z)", _DASH), (r"\[\[.*?(?:\]\]|\Z)", _DOUBLE, _SINGLE)),
    **dict.fromkeys((".hs", ".elm"), CommentStyle("assign", (r"\{-.*?(?:-\}|\Z)", _DASH), (_DOUBLE, _CHAR))),
    **dict.fromkeys(
        (".ml", ".mli", ".fs"), CommentStyle("assign", (r"\(\*.*?(?:\*\)|\Z)", r"//[^\n]*"), (_DOUBLE, _CHAR))
    ),
    ".sql": CommentStyle("sql", (_DASH, _BLOCK), (r"\$\$.*?(?:\$\$|\Z)", r"'(?:''|[^'])*'?", r'"[^"\n]*"?')),
    **dict.fromkeys((".sh", ".bash", ".zsh", ".ksh"), _SHELL),
    **dict.fromkeys((".mk", "makefile", "gnumakefile"), CommentStyle("make", (_WORD_HASH,), ())),
    **dict.fromkeys(
        ("dockerfile", "containerfile", ".dockerfile"),
        CommentStyle("docker", (r"^[ \t]*\#[^\n]*", r"(?<=[ \t])\#[ \t]*mesh:[^\n]*"), (_HEREDOC,)),
    ),
    ".css": _SHEET,
    **dict.fromkeys((".scss", ".less"), CommentStyle("sheet", (r"(?<![:/])//[^\n]*", _BLOCK), (_DOUBLE, _SINGLE))),
    **dict.fromkeys((".html", ".htm", ".xml", ".svg", ".vue", ".svelte", ".md", ".xhtml"), _PAGE),
    **dict.fromkeys((".tex", ".erl", ".m"), _PERCENT),
    **dict.fromkeys((".lisp", ".lsp", ".el", ".scm", ".rkt", ".clj", ".cljs"), _LISP),
    **dict.fromkeys((".f90", ".f95", ".f03"), CommentStyle("assign", (r"![^\n]*",), (_DOUBLE, _SINGLE))),
    **dict.fromkeys((".ps1", ".psm1"), CommentStyle("assign", (r"<\#.*?(?:\#>|\Z)", _HASH), (_DOUBLE, _SINGLE))),
    ".cmake": CommentStyle("page", (_HASH,), (_DOUBLE,)),
    ".tf": CommentStyle("assign", (_HASH, _SLASH, _BLOCK), (_DOUBLE,)),
}


class Masked(NamedTuple):
    """A source without its texts and comments: their characters are spaces, line ends stay.

    `comments` has the first and last character of each comment, and its words without the sign that begins it.
    """

    code: str
    comments: tuple[tuple[int, int, str], ...]


def comment_style(file: str) -> CommentStyle | None:
    """Return the style of a file by its suffix or its whole name; None if it is not known."""
    path = PurePosixPath(file.lower())
    stem = path.name.partition(".")[0]
    return _STYLES.get(path.suffix) or (_STYLES.get(stem) if "." not in stem else None)


def commented(file: str, words: str) -> str:
    """Return words as a comment in the language of a file; behind a `#` if the language is not known."""
    style = comment_style(file)
    every = [sign.format(words) for sign in _SIGNS]
    known = (text for text in every if style and any(re.fullmatch(one, text) for one in style.comments))
    return next(known, every[0])


@lru_cache(maxsize=64)
def masked(source: str, style: CommentStyle) -> Masked:
    """Return a source with its texts and comments masked."""
    comments, texts = "|".join(style.comments), "|".join(style.texts)
    pattern = re.compile(f"(?P<comment>{comments})" + (f"|{texts}" if texts else ""), re.DOTALL | re.MULTILINE)
    parts, found, at = [], [], 0
    for match in pattern.finditer(source):
        text = match[0]
        parts += [source[at : match.start()], re.sub(r"[^\n\r]", " ", text) if match["comment"] else _hollow(text)]
        at = match.end()
        if match["comment"]:
            found.append(
                (
                    match.start(),
                    match.end(),
                    re.sub(r"^(?://+|/\*+|#+|--+|<!--|\(\*|\{-|;+|%+|!+|<)", "", text.lstrip()),
                )
            )
    return Masked("".join([*parts, source[at:]]), tuple(found))


def _hollow(text: str) -> str:
    """Return a text whose letters stay, so that a quoted key is still seen, and whose digits and signs do not."""
    return re.sub(r"[^\w\s\"'-]|\d", "_", text)
