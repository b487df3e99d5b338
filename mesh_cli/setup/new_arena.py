"""`mesh new`: an arena from a template, and from the owner's data if there are any.

It copies the template, finds the owner's columns, checks every value, and writes `columns.toml` and `data.source` into
the new arena. The data stay where they are: nothing of them gets into the arena's folder, which trials can read.
"""

import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from mesh.arena import load_arena
from mesh.data_source import find_source
from mesh.errors import BadArena, BadInput
from mesh.own_data.files import TextTable, read_table
from mesh.own_data.mapping import (
    ColumnMap,
    TableColumns,
    chosen_columns,
    columns_of,
    is_named,
    missing_needs,
    other_files,
    table_files,
    tables_in,
)
from mesh.own_data.reading import COLUMNS_FILE, CheckedTable, check_table
from mesh.own_data.template import TemplateData, load_template
from mesh.own_data.values import DateOrder, Decimal
from mesh.spec import ArenaSpec, ObjectiveSpec
from mesh_cli.arenas import template_folder
from mesh_cli.setup.provable import MeasuredData, measure
from mesh_cli.setup.toml_keys import toml_table, with_keys

ROOM = 5.0
"""How many times the baseline's time a candidate may take, at least."""


class NewWanted(msgspec.Struct, frozen=True):
    """What the owner said: the data, and how to read them where that is not clear."""

    data: Path | None = None
    columns: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    decimal: Decimal = ""
    dates: DateOrder = ""
    skip_bad_rows: bool = False


class FoundTable(msgspec.Struct, frozen=True):
    """A table that was found: as text, its columns, and its checked rows."""

    text: TextTable
    columns: TableColumns
    checked: CheckedTable


class NewArena(msgspec.Struct, frozen=True):
    """A new arena: its folder, and its tables by name if it has data of the owner."""

    name: str
    folder: Path
    template: str
    goal: ObjectiveSpec
    tables: dict[str, FoundTable] = {}
    data: TemplateData | None = None
    measured: MeasuredData | None = None


def new_arena(template: str, target: Path, wanted: NewWanted) -> NewArena:
    """Write an arena to `target`; return what was found.

    Raises:
        BadInput: the data cannot be used; with the file, the line or column, what is accepted, and the cure.
        BadArena: the template does not exist or takes no data, or the target is not empty or not a name.
    """
    origin = template_folder(template)
    name = target.resolve().name
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise BadArena(f"{target}: the folder's name becomes the arena's: use 1 to 64 of A-Z, a-z, 0-9, - and _")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise BadArena(f"{target} is there already: name a new folder")
    own, measured, tables, keys = None, None, dict[str, FoundTable](), dict[str, object]()
    if wanted.data is not None:
        own = load_template(origin)
        tables = _found_tables(own, wanted)
        find_source(target, "", wanted.data, {})
        keys = {**own.settings, "data.source": str(wanted.data.resolve())}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as made:
        whole = Path(made) / name
        left_out = shutil.ignore_patterns("__pycache__", "data", "out", *(own.leave_out if own else ()))
        shutil.copytree(origin, whole, ignore=left_out)
        toml = whole / "arena.toml"
        text = with_keys(toml.read_text("utf-8"), {"arena.name": name, **keys})
        toml.write_text(text, encoding="utf-8")
        if own:
            mapped = ColumnMap({table: found.columns for table, found in tables.items()}, wanted.skip_bad_rows)
            (whole / COLUMNS_FILE).write_text(columns_toml(mapped), encoding="utf-8")
            assert wanted.data is not None
            measured = measure(whole, own, wanted.data)
            keys = _budgets(load_arena(whole), measured)
            keys |= {} if measured.parts.get("sealed") else {"selection.sealed": "off"}
            toml.write_text(with_keys(text, keys), encoding="utf-8")
        if target.is_dir():
            target.rmdir()
        whole.rename(target)
    goal = load_arena(target).objective
    return NewArena(name, target, template, goal, tables, own, measured)


def _budgets(spec: ArenaSpec, measured: MeasuredData) -> dict[str, object]:
    """Return the limits of an arena whose data need more time than the template's own."""
    keys: dict[str, object] = {}
    if (trial_s := math.ceil(ROOM * measured.trial_s)) > spec.trial.budget_s:
        keys |= {"trial.budget_s": float(trial_s), "trial.deadline_s": max(spec.trial.deadline_s, 10.0 * trial_s)}
    if (score_s := math.ceil(ROOM * measured.score_s)) > spec.score.deadline_s / 3:
        keys |= {"score.deadline_s": 3.0 * score_s}
        keys |= {"score.predict_budget_s": max(float(score_s), spec.score.predict_budget_s)}
    return keys


def _found_tables(own: TemplateData, wanted: NewWanted) -> dict[str, FoundTable]:
    assert wanted.data is not None
    chosen, named = chosen_columns(own, wanted.columns), _pairs(wanted.tables)
    texts, unread = dict[Path, TextTable](), list[str]()
    files = table_files(wanted.data)
    files += [path for each in named.values() if (path := wanted.data / each).is_file() and path not in files]
    for path in files:
        try:
            texts[path] = read_table(path)
        except BadInput as error:  # other files may lie there too
            if len(files) == 1 or path.name in named.values() or is_named(own, path):
                raise
            unread.append(str(error))
    for path, why in other_files(wanted.data).items():
        if is_named(own, path) and path.with_suffix("") not in [each.with_suffix("") for each in texts]:
            raise BadInput(why)
        unread.append(why)
    try:
        of_table = tables_in(wanted.data, own, named, {path: text.header for path, text in texts.items()})
    except BadInput as error:
        raise (BadInput(f"{error}; passed over: {unread[0]}") if unread else error) from None
    found, mapped = dict[str, FoundTable](), dict[str, dict[str, str]]()
    for name, path in of_table.items():
        table, text = own.tables[name], texts[path]
        mapped[name] = columns_of(name, table, text.header, path.name, chosen[name])
        file = path.name if wanted.data.is_dir() else ""
        columns = TableColumns(mapped[name], file, wanted.decimal, wanted.dates)
        checked = check_table(text, table, columns, skip_bad_rows=wanted.skip_bad_rows)
        found[name] = FoundTable(text, columns, checked)
    if why := missing_needs(own, mapped):
        over = f"; passed over: {unread[0]}" if unread else ""
        raise BadInput(f"{wanted.data}: {why}: add it, or say which it is: --table NAME=FILE, --map COLUMN=NAME{over}")
    return found


def _pairs(words: Iterable[str]) -> dict[str, str]:
    found = {}
    for word in words:
        name, equals, file = word.partition("=")
        if not equals or not file:
            raise BadInput(f"--table {word}: write NAME=FILE")
        found[name] = file
    return found


def columns_toml(mapped: ColumnMap) -> str:
    """Return the text of `columns.toml`."""
    lines = [
        "# Which column of your files is which. `prepare` reads the data as this file says; correct it by hand.",
        f"skip_bad_rows = {str(mapped.skip_bad_rows).lower()}",
        "",
    ]
    for name, table in mapped.tables.items():
        rest: Mapping[str, str] = {"file": table.file, "decimal": table.decimal, "dates": table.dates}
        lines += toml_table(("tables", name), {key: value for key, value in rest.items() if value})
        lines += toml_table(("tables", name, "columns"), table.columns)
    return "\n".join(lines)
