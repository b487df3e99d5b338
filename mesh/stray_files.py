"""Files that come, change and go beside the task of an arena: outputs, plots, scratch programs, copies.

The next version of an arena keeps such a file as the version before has it, so that it makes no version and no score
stale. It goes by the kind of the file, and by what the arena's programs, settings and commands say. Where these name
the file, its folder or its suffix, have a pattern for it, or list folders, it counts, and so do all kinds of files that
tools read on their own: build files, packages of other languages, tests. `"!NAME"` in `artifact.ignore` makes it count.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from mesh.hidden_files import is_hidden
from mesh.ignore_patterns import verdict
from mesh.leavings import is_empty_folder
from mesh.named_files import MAX_SOURCE_BYTES, NamedWords, is_note, written_in
from mesh.spec import ArenaSpec

_KINDS = re.compile(
    r"""[^.].*\.(txt|csv|tsv|jsonl?|out|err|tmp|bak|orig|rej|old|patch|diff|png|jpe?g|gif|svg|webp|pdf|html?|ipynb|docx?
    |xlsx?|parquet|pkl|pickle|np[yz]|pth?|ckpt|safetensors|joblib|onnx|zip|gz|tgz|tar|py)|core\.\d+""",
    re.IGNORECASE | re.VERBOSE,
)
_READ_BY_TOOLS = re.compile(
    r"""(requirements|constraints)[^/]*\.txt|cmakelists\.txt|(package|package-lock|tsconfig|composer|deno)\.json
    |(sitecustomize|usercustomize|conftest|setup|noxfile|tasks|fabfile|manage|__init__|__main__)\.py|test_.*\.py
    |.*_test\.py""",
    re.IGNORECASE | re.VERBOSE,
)
_LISTS_FOLDERS = re.compile(
    r"\b(os\.walk|(?<!ast\.)walk\(|listdir|iterdir|scandir|rglob|readdir|read_dir|ReadDir|opendir|import_module"
    r"|importlib\.resources|importlib import [^\n]*resources|pkgutil|__import__\((?![\"'])|runpy|pytest|unittest)"
    r"|glob\([^\"'()]*\)"
)
_EVERY_FILE = re.compile(r"""["'](?:[^"'\n]*/)?\*{1,2}(?:\.\*)?["']""")
_LISTS_IN_SHELL = re.compile(r"(?:^|[\s;&|(`])(?:ls|find)\s|(?:^|[\s/])\*(?:$|\s)", re.MULTILINE)
_SUFFIX_OF_NEW = re.compile(r"""\bsuffix\s*=\s*["'][^"'\n]*["']""")
"""How temporary files are named: these are none of the folder."""
_LITERAL = re.compile(r"""["']([^"'\n]{1,200})["']""")
_HOLE = re.compile(r"\{[^{}]*\}|%[-\d.]*[a-z]")
_TOKEN = re.compile(r"[\w.*?\[\]-]+")


def keep_strays(
    before: Mapping[str, bytes], after: Mapping[str, bytes], spec: ArenaSpec, editable: Collection[str]
) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of the next version, and the names of those that stay as the version before has them.

    Args:
        before: the visible files of the version before, by name.
        after: the visible files of the folder, by name.
        spec: what its `arena.toml` says.
        editable: the editable files of both, which all count.
    """
    differ = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    asked = [name for name in differ if _may_be_stray(name, before.get(name, after.get(name, b"")), spec, editable)]
    strays = _unnamed(asked, after, spec, editable) if asked else []
    files = {name: data for name, data in after.items() if name not in strays}
    return files | {name: before[name] for name in strays if name in before}, strays


def _may_be_stray(name: str, data: bytes, spec: ArenaSpec, editable: Collection[str]) -> bool:
    file = name.rpartition("/")[2]
    if name in editable or is_hidden(spec.artifact.hidden, name) or verdict(spec.artifact.ignore, name) is not None:
        return False
    if is_note(name) or is_empty_folder(name, data):
        return False
    return bool(_KINDS.fullmatch(file)) and not _READ_BY_TOOLS.fullmatch(file)


def _unnamed(asked: list[str], after: Mapping[str, bytes], spec: ArenaSpec, editable: Collection[str]) -> list[str]:
    """Return the files that nothing names which counts; what one of them names that is named counts too."""
    said, left = _said(spec), list(asked)
    aside = {*left, "arena.toml", *(name for name in after if name not in editable and is_note(name))}
    texts = ["\n".join(f'"{text}"' for text in said), *(_text(after[name]) for name in after if name not in aside)]
    large = [data for name, data in after.items() if name not in aside and len(data) > MAX_SOURCE_BYTES]
    if _LISTS_IN_SHELL.search("\n".join(said)):
        return []
    while not any(map(_lists_folders, texts)):
        named = _Named(texts, large)
        if not (found := [name for name in left if named.has(name)]):
            return left
        left = [name for name in left if name not in found]
        texts += [_text(after.get(name, b"")) for name in found]
    return []


def _said(spec: ArenaSpec) -> list[str]:
    """Return the texts of `arena.toml` by which a file may be named."""
    plain = msgspec.to_builtins(spec) | {"name": "", "summary": "", "brief": ""}
    return [text for text in _texts(plain) if text]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from (key, *_texts(each))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _text(data: bytes) -> str:
    return data[:MAX_SOURCE_BYTES].decode(errors="replace")


def _lists_folders(text: str) -> bool:
    """Tell whether a program may read files of a folder without their names."""
    is_shell = text.startswith("#!") and "sh" in text.partition("\n")[0]
    return bool(_LISTS_FOLDERS.search(text) or _EVERY_FILE.search(text) or (is_shell and _LISTS_IN_SHELL.search(text)))


class _Named:
    """What texts may name; paths that they only write do not count, nor does what is beyond the start of large ones."""

    def __init__(self, texts: list[str], large: list[bytes]) -> None:
        self._tokens, self._literals, self._large = set[str](), set[str](), large
        for text in texts:
            text = _SUFFIX_OF_NEW.sub("", text)
            for path in written_in(text):
                text = text.replace(f'"{path}"', '""').replace(f"'{path}'", "''")
            words = _TOKEN.findall(text)
            self._tokens.update(words, (word.strip(".") for word in words))
            self._tokens.update(part for word in words for part in word.split("."))
            self._literals.update(part for each in _LITERAL.findall(text) for part in each.split("/"))
        self._patterns = NamedWords(_HOLE.sub("*", word) for word in self._literals | self._tokens)

    def has(self, name: str) -> bool:
        """Tell whether a file is named: itself, a folder that it is in, its suffix, or as a module."""
        path = PurePosixPath(name)
        if any(path.name.encode() in data for data in self._large):
            return True
        if path.suffix in self._literals | self._tokens or path.suffix[1:] in self._literals:
            return True
        if path.suffix == ".py" and path.stem in self._tokens:
            return True
        return any(part in self._tokens or self._patterns.name(part) for part in path.parts)
