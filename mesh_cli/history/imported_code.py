"""The code of imported experiments: from a repository, rebuilt from diffs, or a placeholder where nobody has it."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from mesh.agent.knob_values import knob_values
from mesh.answer_flaw import Unusable
from mesh.code import CodeStore, Commit
from mesh.diffs import apply_diff
from mesh.errors import BadInput
from mesh.events import KnobValues
from mesh_cli.history.result_rows import Experiment

AUTHOR = "autoresearch"
UNKNOWN_TIME = dt.datetime.fromtimestamp(0, dt.UTC)
_HEX = frozenset("0123456789abcdefABCDEF")


class ImportedCode(msgspec.Struct, frozen=True):
    """The commit of an experiment, when it was made, and its knobs. `is_known` is false for a placeholder.

    `parents` are the trees of the experiments that its row names as parents, as far as they are in the file.
    """

    code: Commit
    at: dt.datetime | None
    values: KnobValues = {}
    is_known: bool = True
    parents: tuple[str, ...] = ()


class CodeOrigin(msgspec.Struct, frozen=True):
    """Where code may come from.

    Attributes:
        repository: a git repository with the commits of the rows; None if there is none.
        is_sure: whether the user named it, so that it is an error if it is none.
        folder: the files of a folder that holds the code now, or before the first diff; None without one.
        editable: the paths whose knobs are read, and which alone are taken where there is a folder.
    """

    repository: Path | None
    is_sure: bool
    folder: dict[str, bytes] | None
    editable: Sequence[str]


class FoundCode(msgspec.Struct, frozen=True):
    """The code of each row, how many commits the repository lacks, and how many diffs do not fit."""

    made: list[ImportedCode]
    lacking: int = 0
    misfits: int = 0


def identity(row: Experiment) -> tuple[str, ...]:
    """Return what tells experiments apart: rows with the same are one experiment that was run again."""
    return (row.commit, row.id, row.title) if row.commit or row.id else (f"line {row.line}",)


async def found_code(code: CodeStore, rows: Sequence[Experiment], origin: CodeOrigin) -> FoundCode:
    """Return the code of all rows, in their order.

    Raises:
        BadInput: the repository cannot be read.
    """
    adopted, lacking = await _adopted(code, rows, origin)
    has_diffs = any(row.diff for row in rows)
    owners = _owners(rows)
    last_kept = next((row for row in reversed(rows) if row.status == "keep" and row.value is not None), None)
    found: dict[tuple[str, ...], ImportedCode] = {}
    trees: dict[str, str] = {}
    files_of: dict[str, dict[str, bytes]] = {}
    champion, misfits = "", 0
    for number, row in enumerate(rows):
        if (key := identity(row)) not in found:
            parents = tuple(dict.fromkeys(trees[name] for name in row.parents if name in trees))
            files, at = None, row.at
            if row.commit in adopted and owners.get(row.commit) == key:
                files, at, real = adopted[row.commit]
            else:
                real = None
                before = files_of.get(parents[0] if parents else champion)
                if number == 0 and before is None and has_diffs:
                    before = origin.folder or next((each[0] for name, each in adopted.items() if name == "HEAD"), None)
                if row.diff and before is not None:
                    files = patched(before, row.diff)
                    misfits += files is None
                elif has_diffs and number == 0:
                    files = before
                elif row is last_kept and not has_diffs:
                    files = origin.folder
            made = _made(code, row, files, real, at, origin, [found_commit(found, tree) for tree in parents])
            made = msgspec.structs.replace(made, parents=parents)
            if files is not None and made.is_known:
                files_of[made.code.tree] = files
            found[key] = made
        made = found[key]
        for name in (row.id, row.commit):
            if name and (name == row.id or owners.get(name) == key):
                trees[name] = made.code.tree
        if row.status == "keep" and row.value is not None:
            champion = made.code.tree
    return FoundCode([found[identity(row)] for row in rows], lacking, misfits)


def found_commit(found: Mapping[tuple[str, ...], ImportedCode], tree: str) -> str:
    """Return the commit of a tree that was found before."""
    return next(made.code.commit for made in found.values() if made.code.tree == tree)


def _owners(rows: Sequence[Experiment]) -> dict[str, tuple[str, ...]]:
    """Return whose a commit is: of several experiments the first that was kept, else the first.

    A loop notes what it discards by the commit that it goes back to, so that the code of the others is not known.
    """
    owners = {row.commit: identity(row) for row in reversed(rows)}
    return owners | {row.commit: identity(row) for row in reversed(rows) if row.status == "keep"}


_Adopted = dict[str, tuple[dict[str, bytes], dt.datetime, Commit]]


async def _adopted(code: CodeStore, rows: Sequence[Experiment], origin: CodeOrigin) -> tuple[_Adopted, int]:
    if origin.repository is None:
        return {}, 0
    names = [row.commit for row in rows if len(row.commit) >= 4 and _HEX.issuperset(row.commit)]
    wanted = dict.fromkeys(names)
    if any(row.diff for row in rows):
        wanted["HEAD"] = None
    try:
        taken = await code.adopt(origin.repository, list(wanted))
    except BadInput:
        if origin.is_sure:
            raise
        return {}, 0
    found = {name: (await code.files(commit.commit), at, commit) for name, (commit, at) in taken.items()}
    lacking = {row.commit for row in rows if row.commit and row.commit not in found}
    return found, len(lacking)


def _made(
    code: CodeStore,
    row: Experiment,
    files: dict[str, bytes] | None,
    real: Commit | None,
    at: dt.datetime | None,
    origin: CodeOrigin,
    parents: Sequence[str],
) -> ImportedCode:
    if files is not None and origin.folder is not None:
        own = {path: data for path, data in files.items() if path in origin.editable}
        files = {**origin.folder, **own} if own or files is origin.folder else None
        real = None
    if files is None:
        return _placeholder(code, row, parents)
    values = knob_values(files, origin.editable)
    if real is None:
        real = code.commit(files, parents=parents, message=row.title, author=AUTHOR, at=at or UNKNOWN_TIME)
    return ImportedCode(real, at, values)


def _placeholder(code: CodeStore, row: Experiment, parents: Sequence[str]) -> ImportedCode:
    which = " ".join(filter(None, (row.commit and f"commit {row.commit}", row.id))) or f"line {row.line}"
    text = f"The code of {which} is not known: its results were imported without it.\n\n{row.title}\n"
    made = code.commit(
        {"README": text.encode()}, parents=parents, message=row.title, author=AUTHOR, at=row.at or UNKNOWN_TIME
    )
    return ImportedCode(made, row.at, is_known=False)


def patched(files: Mapping[str, bytes], diff: str) -> dict[str, bytes] | None:
    """Return files with a unified diff in them; None where it does not fit."""
    try:
        changed = apply_diff(files, diff)
    except Unusable:
        return None
    return changed if changed != files else None
