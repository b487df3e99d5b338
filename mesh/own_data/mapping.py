"""Finds which file is which table, and which of its columns is which of the template's. Pure but for listing a folder.

Names are compared without case, accents and punctuation. A column is taken by its own name first, then by an alias.
Where two columns of a file fit, or none does and the template needs one, the owner says which it is.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from mesh.errors import BadInput
from mesh.own_data.file_kinds import binary_kind
from mesh.own_data.files import SUFFIXES
from mesh.own_data.template import OwnColumn, OwnTable, TemplateData, plain_name
from mesh.own_data.values import DateOrder, Decimal

_LISTED = 12


class TableColumns(msgspec.Struct, frozen=True):
    """Where a table comes from: the file ("" if the source is that file), and its columns by the template's names."""

    columns: dict[str, str]
    file: str = ""
    decimal: Decimal = ""
    dates: DateOrder = ""


class ColumnMap(msgspec.Struct, frozen=True):
    """The contents of `columns.toml`. With `skip_bad_rows`, rows that cannot be read are left out."""

    tables: dict[str, TableColumns]
    skip_bad_rows: bool = False


def tables_in(
    source: Path, template: TemplateData, chosen: Mapping[str, str], headers: Mapping[Path, Sequence[str]]
) -> dict[str, Path]:
    """Return the file of each table that the source has, by `--table`, by name, else by its columns.

    Args:
        source: the file or folder of the owner.
        template: what the template can use.
        chosen: names of files by table, as the owner said.
        headers: the columns of each file.

    Raises:
        BadInput: a table that is needed has no file, or two.
    """
    found: dict[str, Path] = {}
    for name, file in chosen.items():
        if name not in template.tables:
            raise BadInput(f"--table {name}={file}: there is no table {name!r}: use {_names(template.tables)}")
        path = source / file if source.is_dir() else source
        if path not in headers:
            raise BadInput(f"--table {name}={file}: {path} does not exist: {source} has {_names(_files(headers))}")
        found[name] = path
    for name, table in template.tables.items():
        fits = [path for path in headers if path not in found.values() and _has_name(path, name, table)]
        if name not in found and fits:
            found[name] = _only(name, fits)
    for name, table in template.tables.items():
        if name not in found:
            fits = [path for path in headers if path not in found.values() and _fits(table, headers[path])]
            if fits:
                found[name] = _only(name, fits)
    for name, table in template.tables.items():
        if name not in found and len(template.tables) == len(headers) == 1:
            found[name] = next(iter(headers))  # its columns say what is missing
        if name not in found and table.required:
            needed = _names(column for column, own in table.columns.items() if own.required)
            raise BadInput(
                f"{source} has no file of {name} ({table.meaning}), which needs the columns {needed}: "
                f"name a file {name}.csv, or say which it is: --table {name}=FILE"
            )
    return {name: found[name] for name in template.tables if name in found}


def is_named(template: TemplateData, path: Path) -> bool:
    """Tell whether a file has the name of a table."""
    return any(_has_name(path, name, table) for name, table in template.tables.items())


def _has_name(path: Path, name: str, table: OwnTable) -> bool:
    return plain_name(path.stem) in [plain_name(each) for each in (name, *table.files)]


def _fits(table: OwnTable, header: Sequence[str]) -> bool:
    own = [column for column in table.columns.values() if column.required]
    names = [name for name, column in table.columns.items() if column.required]
    return bool(own) and all(_candidates(name, column, header) for name, column in zip(names, own, strict=True))


def _only(name: str, fits: Sequence[Path]) -> Path:
    if len(fits) > 1:
        raise BadInput(
            f"{_names(path.name for path in fits)} may all be {name}: say which it is: --table {name}={fits[0].name}"
        )
    return fits[0]


def table_files(source: Path) -> list[Path]:
    """Return the files of a source that may be tables.

    Raises:
        BadInput: there is none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"--data {source} does not exist: name a CSV file, or a folder with CSV files")
    found = [path for path in _listed(source) if path.suffix.lower() in SUFFIXES]
    if not found:
        why = other_files(source)
        told = f"; {next(iter(why.values()))}" if why else ""
        raise BadInput(f"{source} has no table: its files must end in {', '.join(SUFFIXES)}{told}")
    return found


def other_files(source: Path) -> dict[Path, str]:
    """Return files of a folder that may be meant as a table, but are workbooks or packed, each with one sentence."""
    found = {}
    for path in _listed(source) if source.is_dir() else []:
        with suppress(OSError):
            if path.suffix.lower() not in SUFFIXES and (why := binary_kind(path)):
                found[path] = f"{path} {why}"
    return found


def _listed(folder: Path) -> list[Path]:
    """Return the files of a folder without hidden ones and those that a program keeps while it has a file open."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith((".", "~$")))
    except OSError as error:
        raise BadInput(f"--data {folder} cannot be read: {error.strerror}") from None


def columns_of(
    table: str, own: OwnTable, header: Sequence[str], file: str, chosen: Mapping[str, str]
) -> dict[str, str]:
    """Return the column of the file for each of the template's columns that it has.

    Args:
        table: name of the table.
        own: the table as the template describes it.
        header: the columns of the file.
        file: its name, for the errors.
        chosen: columns of the file by the template's names, as the owner said; "" leaves one out.

    Raises:
        BadInput: a column that is needed is missing, or two columns fit; with what is accepted, and the cure.
    """
    found: dict[str, str] = {}
    for name, theirs in chosen.items():
        same = [each for each in header if plain_name(each) == plain_name(theirs)]
        if theirs and theirs not in header and len(same) != 1:
            raise BadInput(f"--map {name}={theirs}: {file} has no column {theirs!r}: it has {_names(header)}")
        found[name] = theirs if theirs in header or not theirs else same[0]
    for name, column in own.columns.items():
        if name in found:
            continue
        fits = [each for each in _candidates(name, column, header) if each not in found.values()]
        if len(fits) > 1:
            raise BadInput(
                f"{file}: {_names(fits)} may all be {name} ({column.meaning or table}): "
                f"say which it is: --map {table}.{name}={_quoted(fits[0])}"
            )
        if fits:
            found[name] = fits[0]
    for name, column in own.columns.items():
        if column.required and not found.get(name):
            raise BadInput(_missing(table, name, column, header, file, found.values()))
    return {name: found[name] for name in own.columns if found.get(name)}


def _candidates(name: str, column: OwnColumn, header: Sequence[str]) -> list[str]:
    """Return the columns of a file that have the name, else those that have an alias."""
    same = [each for each in header if plain_name(each) == plain_name(name)]
    aliases = {plain_name(alias) for alias in column.aliases}
    return same or [each for each in header if plain_name(each) in aliases]


def _missing(table: str, name: str, column: OwnColumn, header: Sequence[str], file: str, taken: Iterable[str]) -> str:
    free = [each for each in header if each not in taken]
    flat = {plain_name(each): each for each in free}
    near = difflib.get_close_matches(plain_name(name), flat, 1, 0.5)
    guess = flat[near[0]] if near else (free or list(header))[0]
    accepted = _names((name, *column.aliases))
    meaning = f" ({column.meaning})" if column.meaning else ""
    if len(header) == 1:
        return (
            f"{file} has one column, {header[0][:60]!r}, but {table} need more, such as {name}{meaning}: "
            "separate columns by commas, semicolons, tabs or bars"
        )
    return (
        f"{file} has no column {name}{meaning}; accepted names are {accepted}; it has {_names(header)}: "
        f"say which it is, such as --map {table}.{name}={_quoted(guess)}"
    )


def unneeded(columns: Mapping[str, str], header: Sequence[str]) -> list[str]:
    """Return the columns of a file that the template has no use for."""
    return [name for name in header if name not in columns.values()]


def missing_needs(template: TemplateData, found: Mapping[str, Mapping[str, str]]) -> str:
    """Return what of `needs` is not there in one sentence, "" if all is."""
    for needed in template.needs:
        if not any(_has(found, need) for need in needed):
            which = " or ".join(
                f"a column {need.partition('.')[2]} of {need.partition('.')[0]}" if "." in need else f"a file of {need}"
                for need in needed
            )
            return f"the data needs {which}"
    return ""


def _has(found: Mapping[str, Mapping[str, str]], need: str) -> bool:
    table, _, column = need.partition(".")
    return table in found and (not column or column in found[table])


def chosen_columns(template: TemplateData, given: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what `--map COLUMN=NAME` and `--map TABLE.COLUMN=NAME` say, by table.

    Raises:
        BadInput: a word is not of that form, or no table or several tables have the column.
    """
    chosen: dict[str, dict[str, str]] = {name: {} for name in template.tables}
    for word in given:
        left, equals, right = word.partition("=")
        table, _, column = left.strip().rpartition(".")
        having = [name for name, own in template.tables.items() if column in own.columns and table in ("", name)]
        if not equals:
            raise BadInput(f"--map {word}: write COLUMN=NAME, with the name that the column has in your file")
        if not having:
            known = {each for own in template.tables.values() for each in own.columns}
            raise BadInput(f"--map {word}: there is no column {left.strip()!r}: use {_names(sorted(known))}")
        if len(having) > 1:
            raise BadInput(
                f"--map {word}: {' and '.join(having)} have a column {column!r}: write --map {having[0]}.{word}"
            )
        chosen[having[0]][column] = right.strip()
    return chosen


def _files(headers: Mapping[Path, object]) -> list[str]:
    return [path.name for path in headers]


def _quoted(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else f"'{name}'"


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
