"""What a template says about own data: the contents of `own_data.toml` in an arena's folder.

    summary = "Your orders, invoices, and what became of them"
    items = "invoices"                   # what one score of MESH_ITEMS is of, and its cluster
    clusters = "vendors"
    leave_out = ["attacks"]              # files and folders of the template that the new arena does not get
    needs = [["history", "invoices.action"]]   # of each list, one table or column at least

    [settings]                           # keys of arena.toml that differ with own data
    "objective.noise" = "items"

    [[reference]]                        # a plausible improvement, as edits: how far do differences spread?
    file = "match.py"
    old = "TOLERANCE = 0.05"
    new = "TOLERANCE = 0.01"

    [tables.invoices]
    meaning = "the invoices that came"
    files = ["bills"]                    # other names of the file, without suffix
    required = true
    key = ["invoice_number"]             # no two rows may have the same
    [tables.invoices.columns.invoice_date]
    type = "date"                        # text, number, integer, date, flag, choice
    required = true                      # such a column must be there, and no cell of it may be empty
    meaning = "the day on the invoice"
    aliases = ["BT-2", "Invoice Date"]   # compared without case and punctuation
    choices = { paid = ["posted"] }      # for a choice: its values with their aliases

`prepare` splits the data and prints lines `split: ...` and `base rate: ...`, which `mesh new` shows. The first has a
number for each part (`split: 60 queries: public 18, search 15, confirm 15, sealed 12`); without one for `sealed`, the
new arena gets `selection.sealed = "off"`. The score program counts the part that `$MESH_SPLIT` names, and writes the
score of each item to `$MESH_ITEMS`, from which the smallest gain that can be proven is computed.
"""

import re
import unicodedata
from pathlib import Path
from typing import Any

import msgspec

from mesh.decoding import decode_toml
from mesh.errors import BadArena
from mesh.own_data.values import ColumnType

OWN_DATA = "own_data.toml"


class OwnColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column that the template can use."""

    type: ColumnType = "text"
    required: bool = False
    meaning: str = ""
    aliases: tuple[str, ...] = ()
    choices: dict[str, tuple[str, ...]] = {}


class OwnTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table that the template can use."""

    columns: dict[str, OwnColumn]
    meaning: str = ""
    files: tuple[str, ...] = ()
    required: bool = False
    key: tuple[str, ...] = ()


class ReferenceEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text of an editable file that the reference improvement replaces."""

    file: str
    old: str
    new: str


class TemplateData(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `own_data.toml`."""

    tables: dict[str, OwnTable]
    summary: str = ""
    items: str = "items"
    clusters: str = "clusters"
    leave_out: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    settings: dict[str, Any] = {}
    reference: tuple[ReferenceEdit, ...] = ()


def load_template(folder: Path) -> TemplateData:
    """Return what the template in `folder` says about own data.

    Raises:
        BadArena: it takes no own data, or its `own_data.toml` is not valid.
    """
    path = folder / OWN_DATA
    if not path.is_file():
        raise BadArena(f"{folder.name} takes no data of yours: it has no {OWN_DATA} (docs/howto/own-data.md)")
    try:
        found = msgspec.convert(decode_toml(path.read_bytes()), TemplateData)
    except OSError as error:
        raise BadArena(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise BadArena(f"{path}: {error}") from None
    for name, table in found.tables.items():
        names = [each for column, own in table.columns.items() for each in {*map(plain_name, (column, *own.aliases))}]
        if twice := [each for each in names if names.count(each) > 1]:
            raise BadArena(f"{path}: tables.{name}: the alias {twice[0]!r} stands for two columns: keep one")
        if missing := [column for column in table.key if column not in table.columns]:
            raise BadArena(f"{path}: tables.{name}.key has {missing[0]!r}, which is not one of its columns")
    return found


def plain_name(name: str) -> str:
    """Return a name without case, accents, spaces and punctuation: how names are compared."""
    flat = unicodedata.normalize("NFKD", name.replace("ß", "ss").casefold())
    return re.sub(r"[\W_]", "", "".join(each for each in flat if not unicodedata.combining(each)))
