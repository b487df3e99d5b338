"""Which file a model means: it writes names with marks, prefixes and folders that the arena does not have. Pure."""

import re
from collections.abc import Collection, Mapping, Sequence

from mesh.answer_flaw import Unusable, one_line

_FILE = re.compile(r"[#*\s>-]*(?:file ?name|file ?path|file|path)\**\s*[:=]\**\s*(\S.*)", re.IGNORECASE)
_COMMENT = re.compile(
    r"(?:#+|//|--|;+|%|/\*|<!--)\s*(?:file ?name|file|path)?\s*:?\s*(\S+?)\s*(?:\*/|-->)?", re.IGNORECASE
)
_SENTENCE = re.compile(r".*:[*\s]*")
_QUOTED = re.compile(r"[`*\"'](\S+?)[`*\"']")
_LANGUAGES = {
    "python": ".py", "py": ".py", "python3": ".py", "cpp": ".cpp", "c++": ".cpp", "cc": ".cpp", "c": ".c",
    "rust": ".rs", "rs": ".rs", "javascript": ".js", "js": ".js", "typescript": ".ts", "ts": ".ts", "go": ".go",
    "java": ".java", "julia": ".jl", "r": ".r", "sql": ".sql", "toml": ".toml", "yaml": ".yaml", "yml": ".yaml",
    "json": ".json",
    "swift": ".swift", "cuda": ".cu", "cu": ".cu", "lua": ".lua", "html": ".html", "css": ".css", "markdown": ".md",
    "md": ".md", "fortran": ".f90", "metal": ".metal", "haskell": ".hs", "scala": ".scala", "kotlin": ".kt",
}  # fmt: skip
_SHELL = {
    "bash",
    "sh",
    "shell",
    "console",
    "zsh",
    "powershell",
    "text",
    "txt",
    "plaintext",
    "output",
    "mermaid",
    "latex",
}
_SAME = {".yml": ".yaml", ".h": ".cpp", ".hpp": ".cpp", ".cc": ".cpp", ".f": ".f90"}


def stated_name(line: str, editable: Collection[str]) -> str:
    """Return the file that a line states, such as `FILE: train.py`, `**train.py**` or `### train.py`; "" if none."""
    if match := _FILE.fullmatch(line.strip()):
        name = _clean(re.sub(r"\s+\([^)]*\)$", "", match[1]))
        if " " not in name or matching(name, editable):
            return name  # a sentence behind a colon is no name
    bare = _clean(re.sub(r"^[#*>\s\d.)-]+", "", line.strip()))
    return bare if matching(bare, editable) else ""


def mentioned_name(line: str, editable: Collection[str]) -> str:
    """Return the one editable file that a sentence before a fence mentions, such as `In train.py:`; "" if none."""
    if not _SENTENCE.fullmatch(line):
        return ""
    words = {*map(_clean, line.split()), *map(_clean, _QUOTED.findall(line))}
    found = {name for word in words if (name := matching(word, editable))}
    return min(found) if len(found) == 1 else ""


def name_in_fence(info: str, first: str, editable: Collection[str]) -> tuple[str, bool]:
    """Return the file that a fence states, behind its language or in its first line, and whether the line is a name."""
    for word in re.split(r"[\s:={},]+", info):
        if "." in word and (matching(_clean(word), editable) or "/" in word):
            return _clean(word), False
    if (match := _COMMENT.fullmatch(first.strip())) and matching(match[1], editable):
        return match[1], True
    bare = _clean(first.strip())
    return (bare, True) if matching(bare, editable) and " " not in bare else ("", False)


def matching(name: str, editable: Collection[str]) -> str:
    """Return the editable file that a name means, "" if it means none."""
    plain = re.sub(r"^(?:\./)+", "", name)
    for each in (plain, re.sub(r"^[ab]/", "", plain)):
        if each in editable:
            return each
    if ".." in plain.split("/"):
        return ""
    ends = [each for each in editable if plain.endswith(f"/{each}")]
    ends = ends or [each for each in editable if plain and "/" in each and each.endswith(f"/{plain}")]
    return ends[0] if len(ends) == 1 else ""


def file_of(name: str, files: Mapping[str, bytes], editable: Sequence[str]) -> str:
    """Return the editable file that a change is for.

    Args:
        name: The name as the model wrote it, "" if it wrote none.
        files: The files before the change, by path.
        editable: The paths that may change.

    Raises:
        Unusable: No name where there are several files, or a file that may not change.
    """
    if not name and len(editable) == 1:
        return editable[0]
    if not name:
        raise Unusable(f"a change has no file name; write FILE: and one of {', '.join(editable)} before it")
    plain = re.sub(r"^(?:\./)+", "", name)
    known = plain if plain in files else re.sub(r"^[ab]/", "", plain)
    found = known if known in editable else "" if known in files else matching(name, editable)
    if not found:
        raise Unusable(f"{one_line(name)[:80]} may not be changed; change only {', '.join(editable)}")
    return found


def by_language(info: str, editable: Sequence[str]) -> list[str] | None:
    """Return the editable files that a fence of this language may be; None if it is a command or output."""
    word = re.split(r"[\s:{},.]+", info.strip().lower())[0]
    if word in _SHELL:
        return None
    suffix = _LANGUAGES.get(word)
    if suffix is None:
        return list(editable)
    return [name for name in editable if _suffix(name) == suffix] or None


def _suffix(name: str) -> str:
    end = "." + name.lower().rpartition(".")[2]
    return _SAME.get(end, end)


def _clean(name: str) -> str:
    return name.strip().strip("`*'\"()[],").rstrip(":").strip("`*'\"").strip()
