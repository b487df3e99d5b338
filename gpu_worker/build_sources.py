"""Which files of a trial must look changed to its build tool, where it begins with a base. Pure.

Build tools compare times. Files as in the accepted artifact get an old time, all others a new one. That is right only
if the tool knows what depends on what. So a base is used only for changes of source code in C, C++ and CUDA, and in
Rust and Go where Cargo or Go builds it. Any other change (flags in a Makefile, a script, data) starts from nothing.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

C_FAMILY = frozenset(
    (
        *(".c", ".cc", ".cpp", ".cxx", ".c++", ".m", ".mm", ".cu"),
        *(".h", ".hh", ".hpp", ".hxx", ".h++", ".cuh", ".inc", ".inl", ".ipp", ".tcc", ".tpp", ".def"),
    )
)
_BUILT_BY = {".rs": "Cargo.toml", ".go": "go.mod"}
_INCLUDE = re.compile(rb"^[ \t]*#[ \t]*(?:include|import|include_next)\b[^\"<\n]*[\"<]([^\">\n]+)[\">]", re.MULTILINE)


class StartsFromNothing(Exception):
    """A base cannot be used for a proposal; the message says why in a few words."""


def changed_sources(accepted: Mapping[str, bytes], files: Mapping[str, bytes]) -> set[str]:
    """Return the files that must look changed: those that are new or differ, and those that include such a file.

    Args:
        accepted: the files of the accepted artifact.
        files: those of a trial.

    Raises:
        StartsFromNothing: the build tool might not see what changed.
    """
    if removed := sorted(accepted.keys() - files.keys()):
        raise StartsFromNothing(f"{removed[0]} was removed")
    changed = {name for name, body in files.items() if accepted.get(name) != body}
    for name in sorted(changed):
        suffix = PurePosixPath(name).suffix.lower()
        built_by = _BUILT_BY.get(suffix, "")
        if suffix not in C_FAMILY and not (built_by and _has(accepted, built_by)):
            raise StartsFromNothing(f"{name} was changed")
    return changed | _including(changed, files)


def _has(files: Iterable[str], name: str) -> bool:
    return any(PurePosixPath(each).name == name for each in files)


def _including(changed: Iterable[str], files: Mapping[str, bytes]) -> set[str]:
    """Return the files that include a changed one, directly or not: a Makefile often does not list headers."""
    found = set[str]()
    names = {PurePosixPath(name).name for name in changed if PurePosixPath(name).suffix.lower() in C_FAMILY}
    if not names:
        return found
    included = {
        name: {PurePosixPath(each.decode(errors="replace")).name for each in _INCLUDE.findall(body)}
        for name, body in files.items()
        if PurePosixPath(name).suffix.lower() in C_FAMILY
    }
    while more := {name for name, its in included.items() if name not in found and its & names}:
        found |= more
        names = {PurePosixPath(name).name for name in more}
    return found
