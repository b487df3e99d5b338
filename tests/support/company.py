"""A company's exports: orders, invoices and history of a drawn world, in the columns of several programs."""

import csv
import importlib
import io
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ARENA = Path(__file__).parents[2] / "arenas" / "invoices"
MODULES = ("truth", "world", "own", "match", "score")

Rows = list[dict[str, Any]]


def arena_module(name: str) -> Any:
    """Import a module of arenas/invoices as its own programs import it, and forget all of them again."""
    sys.path.insert(0, str(ARENA))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ARENA))
        for each in MODULES:
            sys.modules.pop(each, None)


def company_tables(seed: int = 1, salt: str = "a company") -> dict[str, Rows]:
    """Return the tables of a drawn world by name, with the template's columns."""
    vendors, events = arena_module("world").world(salt, seed)
    by_id = {each["id"]: each for each in vendors}
    came = defaultdict[str, Rows](list)
    orders, invoices, history = Rows(), Rows(), Rows()
    for event in events:
        if event.what == "receipt":
            came[event.fields["po"]].append(event.fields)
    for event in events:
        fields = event.fields
        if event.what == "order":
            receipts = came[fields["po"]]
            orders.append(
                {
                    "po_number": fields["po"],
                    "vendor_name": by_id[fields["vendor_id"]]["name"],
                    "po_date": fields["date"],
                    "quantity": fields["quantity"],
                    "unit_price": fields["unit_price"],
                    "received_quantity": sum(each["quantity"] for each in receipts) if fields["goods"] else "",
                    "receipt_date": max((each["date"] for each in receipts), default=""),
                    "vendor_iban": by_id[fields["vendor_id"]]["iban"],
                }
            )
        elif event.what == "invoice":
            named = {"invoice_number": fields["number"], "vendor_name": fields["vendor_name"]}
            named["invoice_date"] = fields["date"]
            shown = ("po_number", "quantity", "unit_price", "freight", "total", "iban")
            invoices.append(named | {name: fields[name] for name in shown})
            kinds = {"": "paid", "duplicate": "cancelled", "no_order": "cancelled"}
            truth = {"po_number": event.truth.po or "", "action": kinds.get(event.truth.reason, "blocked")}
            history.append(named | truth | {"reason": event.truth.reason})
    return {"purchase_orders": orders, "invoices": invoices, "history": history}


def write_exports(
    folder: Path,
    *,
    tables: Mapping[str, Rows] | None = None,
    names: Mapping[str, Mapping[str, str]] | None = None,
    separator: str = ",",
    encoding: str = "utf-8",
    write: Callable[[str, Any], str] = lambda column, value: str(value),
) -> Path:
    """Write a company's tables as CSV files and return the folder.

    Args:
        folder: where to; it is made.
        tables: rows by table; those of a drawn world if there are none.
        names: of each table, the file's columns by the template's; columns that are not named are left out.
        separator: of the cells.
        encoding: of the files.
        write: the text of a cell by the template's column and the value.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in (tables or company_tables()).items():
        columns = (names or {}).get(table, {name: name for name in rows[0]})
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=separator)
        writer.writerow(columns.values())
        writer.writerows([write(name, row[name]) for name in columns] for row in rows)
        (folder / f"{table}.csv").write_bytes(text.getvalue().encode(encoding))
    return folder
