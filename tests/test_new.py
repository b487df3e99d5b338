"""`mesh new`: an arena from a template and an owner's files, whatever program wrote them."""

import math
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from mesh.arena import load_arena
from mesh.items import Spread
from mesh_cli.setup.check_arena import check_arena
from mesh_cli.setup.provable import smallest_gain
from mesh_cli.setup.toml_keys import with_keys
from tests.support.company import company_tables, write_exports

XERO = {
    "purchase_orders": {
        "po_number": "PurchaseOrderNumber",
        "vendor_name": "*ContactName",
        "po_date": "PurchaseOrderDate",
        "quantity": "Quantity",
        "unit_price": "UnitAmount",
    },
    "invoices": {
        "vendor_name": "*ContactName",
        "invoice_number": "*InvoiceNumber",
        "po_number": "Reference",
        "invoice_date": "*InvoiceDate",
        "total": "Total",
        "quantity": "*Quantity",
        "unit_price": "*UnitAmount",
    },
    "history": {"invoice_number": "InvoiceNumber", "vendor_name": "ContactName", "action": "Status"},
}
QUICKBOOKS = {
    "purchase_orders": {
        "vendor_name": "Vendor",
        "po_number": "PO No",
        "po_date": "Date",
        "quantity": "Qty",
        "unit_price": "Rate",
        "received_quantity": "Received Qty",
    },
    "invoices": {
        "vendor_name": "Vendor",
        "invoice_number": "Bill No",
        "invoice_date": "Bill Date",
        "po_number": "P.O. Number",
        "total": "Amount",
    },
    "history": {"vendor_name": "Vendor", "invoice_number": "Bill No", "action": "Payment Status"},
}
SAP = {
    "purchase_orders": {
        "po_number": "EBELN",
        "vendor_name": "NAME1",
        "po_date": "BEDAT",
        "quantity": "MENGE",
        "unit_price": "NETPR",
        "received_quantity": "WEMNG",
        "receipt_date": "BUDAT",
    },
    "invoices": {
        "invoice_number": "XBLNR",
        "vendor_name": "NAME1",
        "invoice_date": "BLDAT",
        "po_number": "EBELN",
        "quantity": "MENGE",
        "unit_price": "NETPR",
        "total": "WRBTR",
    },
    "history": {"invoice_number": "XBLNR", "vendor_name": "NAME1", "invoice_date": "BLDAT", "action": "Status"},
}
NUMBERS = {"quantity", "unit_price", "received_quantity", "freight", "total"}


def german(column: str, value: Any) -> str:
    """A cell as SAP writes it in Germany."""
    if column.endswith("_date"):
        return ".".join(reversed(str(value).split("-"))) if value else ""
    if column in NUMBERS and value != "":
        return f"{value:,.3f}".replace(",", " ").replace(".", ",").replace(" ", ".")
    return str(value)


def american(column: str, value: Any) -> str:
    """A cell as QuickBooks writes it."""
    if column.endswith("_date"):
        year, month, day = str(value).split("-")
        return f"{month}/{day}/{year}"
    return f"${value:,.2f}" if column in NUMBERS and value != "" else str(value)


def mesh_new(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mesh_cli", "new", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def tables() -> dict[str, list[dict[str, Any]]]:
    return company_tables()


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (XERO, {}),
        (QUICKBOOKS, {"write": american}),
        (SAP, {"write": german, "separator": ";", "encoding": "cp1252"}),
    ],
    ids=["Xero", "QuickBooks", "SAP"],
)
def test_exports_of_accounting_programs_need_no_mapping(
    tmp_path: Path, tables: dict[str, Any], names: dict[str, dict[str, str]], options: dict[str, Any]
) -> None:
    write_exports(tmp_path / "exports", tables=tables, names=names, **options)
    done = mesh_new(tmp_path, "invoices", "mine", "--data", "exports")
    assert (done.returncode, done.stderr) == (0, "")
    for table, columns in names.items():
        assert f"{table}: {table}.csv, {len(tables[table])} rows" in done.stdout
        for ours, theirs in columns.items():
            assert any(line.split()[:1] == [ours] and theirs in line for line in done.stdout.splitlines()), (
                ours,
                theirs,
            )
    spec = load_arena(tmp_path / "mine")
    assert (spec.name, spec.data.source) == ("mine", str(tmp_path / "exports"))


def test_nothing_of_the_data_gets_into_the_folder_that_trials_read(tmp_path: Path, tables: dict[str, Any]) -> None:
    write_exports(tmp_path / "exports", tables=tables)
    assert mesh_new(tmp_path, "invoices", "mine", "--data", "exports").returncode == 0
    written = "".join(path.read_text() for path in (tmp_path / "mine").rglob("*") if path.is_file())
    assert not [row for row in tables["invoices"] if row["iban"] in written or f'"{row["vendor_name"]}"' in written]
    assert not (tmp_path / "mine" / "attacks").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("bills", "mine"), "'bills' is not an arena that comes with the mesh: use digits, invoices"),
        (("digits", "mine", "--data", "exports"), "digits takes no data of yours: it has no own_data.toml"),
        (
            ("invoices", "mine", "--data", "nowhere"),
            "--data nowhere does not exist: name a CSV file, or a folder with CSV files",
        ),
        (("invoices", "exports", "--data", "exports"), "exports is there already: name a new folder"),
        (
            ("invoices", "my invoices"),
            "my invoices: the folder's name becomes the arena's: use 1 to 64 of A-Z, a-z, 0-9, - and _",
        ),
        (
            ("invoices", "mine", "--data", "exports", "--map", "price=Total"),
            "--map price=Total: there is no column 'price': use",
        ),
        (
            ("invoices", "mine", "--data", "exports", "--map", "po_number=EBELN"),
            "write --map purchase_orders.po_number=EBELN",
        ),
        (
            ("invoices", "mine", "--data", "exports", "--table", "bills=x.csv"),
            "--table bills=x.csv: there is no table 'bills'",
        ),
        (("invoices", "mine", "--data", "exports/invoices.csv"), "has no file of purchase_orders (what was ordered"),
    ],
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    tmp_path: Path, tables: dict[str, Any], words: tuple[str, ...], sentence: str
) -> None:
    write_exports(tmp_path / "exports", tables=tables)
    done = mesh_new(tmp_path, *words)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert sentence in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exports"]


def test_it_shows_split_base_rate_noise_and_the_smallest_gain_and_a_real_worker_agrees(
    tmp_path: Path, tables: dict[str, Any]
) -> None:
    write_exports(tmp_path / "exports", tables=tables)
    done = mesh_new(tmp_path, "invoices", "mine", "--data", "exports")
    decided = len(tables["history"])
    counts, firsts = split_of(done.stdout)
    assert sum(counts.values()) == decided
    shares = {"public": 0.45, "search": 0.15, "confirm": 0.25, "sealed": 0.15}
    assert all(abs(counts[part] - share * decided) < 12 for part, share in shares.items())
    late = [row for row in tables["history"] if row["invoice_date"] >= firsts["search"]]
    assert f"sealed: only champions meet these {counts['sealed']} invoices" in done.stdout
    wrong = sum(row["action"] != "paid" for row in late) / len(late)
    assert f"base rate: {wrong:.1%} of the private invoices were not to be paid" in done.stdout
    proof = rf"^baseline: savings (\S+) on {counts['confirm']} invoices of \d+ vendors \(proof\)"
    [score] = re.findall(proof, done.stdout, re.MULTILINE)
    [(reference, gain)] = re.findall(r"^reference: savings (\S+), better by \+(\S+),", done.stdout, re.MULTILINE)
    assert float(reference) == pytest.approx(float(score) + float(gain), abs=2e-4)
    [smallest] = re.findall(r"^smallest gain that these data prove: (\S+) savings", done.stdout, re.MULTILINE)
    assert 0 < float(smallest) < 2
    toml = tmp_path / "mine" / "arena.toml"
    spec = load_arena(tmp_path / "mine")
    assert (spec.objective.noise, spec.selection.sealed) == ("items", "report")
    toml.write_text(toml.read_text().replace('leak_audit = "refuse"', 'leak_audit = "off"'))
    program = tmp_path / "mine" / "score.py"  # a check measures the split of search
    program.write_text(program.read_text().replace('os.environ.get("MESH_SPLIT", "search")', '"confirm"'))
    checked = anyio.run(partial(check_arena, tmp_path / "mine", seeds=1, slots=1, device="cpu", sandbox="weak"))
    assert checked.scores == [pytest.approx(float(score), abs=1e-4)]


def split_of(told: str) -> tuple[dict[str, int], dict[str, str]]:
    """How many invoices each part has, and its first day, by what the command printed."""
    [line] = [line for line in told.splitlines() if line.startswith("split: ")]
    found = re.findall(r"(public|search|confirm|sealed) (\d+)(?: \(from (\S+)\))?", line)
    return {part: int(count) for part, count, _ in found}, {part: day for part, _, day in found if day}


def test_few_invoices_have_no_sealed_part_and_the_arena_asks_for_no_looks(
    tmp_path: Path, tables: dict[str, Any]
) -> None:
    write_exports(tmp_path / "exports", tables={**tables, "history": tables["history"][:90]})
    done = mesh_new(tmp_path, "invoices", "mine", "--data", "exports")
    assert list(split_of(done.stdout)[0]) == ["public", "search", "confirm"]
    assert "no sealed part: it needs 20 decided invoices, so about 134 in all: export more" in done.stdout
    assert load_arena(tmp_path / "mine").selection.sealed == "off"


def test_too_little_history_is_one_sentence(tmp_path: Path, tables: dict[str, Any]) -> None:
    few = {**tables, "history": tables["history"][:5]}
    write_exports(tmp_path / "exports", tables=few)
    done = mesh_new(tmp_path, "invoices", "mine", "--data", "exports")
    assert done.stderr == (
        "mesh: python prepare.py cannot use the data: the history decides 5 invoices, but at least 20 are needed: "
        "export more of it\n"
    )
    assert (done.returncode, (tmp_path / "mine").exists()) == (2, False)


def test_the_smallest_gain_is_proven_four_times_of_five() -> None:
    assert smallest_gain(Spread(1.0, 1e9), 0.05) == pytest.approx(1.645 + 0.842, abs=1e-3)
    draws = np.random.default_rng(1).normal(smallest_gain(Spread(1 / math.sqrt(30), 29), 0.09), 1.0, (4000, 30))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / math.sqrt(30))
    assert (t > 1.3730).mean() == pytest.approx(0.8, abs=0.03)  # 1.3730: Student's t with 29 degrees of freedom at .91


def test_without_data_the_template_is_copied_with_its_attacks(tmp_path: Path) -> None:
    assert mesh_new(tmp_path, "digits", "mine").stdout.splitlines()[0] == "arena mine in mine, from the template digits"
    assert load_arena(tmp_path / "mine").name == "mine"
    assert (tmp_path / "mine" / "attacks" / "attacks.toml").is_file()


def test_keys_are_set_where_they_stand_and_the_rest_is_kept() -> None:
    text = '# mine\n[arena]\nname = "a"  # its name\n\n[trial]   # runs\nbudget_s = 4.0\n\n[score]\nhow = "command"\n'
    assert with_keys(text, {"arena.name": "b", "trial.memory_gb": 2.5, "data.source": 'C:\\"x"'}) == (
        '# mine\n[arena]\nname = "b"\n\n[trial]   # runs\nbudget_s = 4.0\nmemory_gb = 2.5\n\n[score]\n'
        'how = "command"\n\n'
        '[data]\nsource = "C:\\\\\\"x\\""\n'
    )


def test_files_that_are_no_tables_are_passed_over_and_named_if_one_is_missing(
    tmp_path: Path, tables: dict[str, Any]
) -> None:
    write_exports(tmp_path / "exports", tables=tables)
    (tmp_path / "exports" / "readme.txt").write_text("hello")
    (tmp_path / "exports" / "history.csv").rename(tmp_path / "exports" / "became of.csv")
    done = mesh_new(tmp_path, "invoices", "mine", "--data", "exports")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"history: became of.csv, {len(tables['history'])} rows" in done.stdout
    (tmp_path / "exports" / "purchase_orders.csv").write_text("")
    done = mesh_new(tmp_path, "invoices", "other", "--data", "exports")
    assert done.stderr.endswith("purchase_orders.csv is empty: it needs a header and at least one row\n")
