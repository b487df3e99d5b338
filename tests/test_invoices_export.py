"""The export of invoices: what a champion saves in euros, what it holds and why, and which settings differ."""

import csv
import re
import subprocess
import sys
from pathlib import Path

from mesh_cli.setup.new_arena import NewWanted, new_arena
from tests.support.company import company_tables, write_exports

CHANGES = {"DUPLICATES = False": "DUPLICATES = True", "CLEAN_ORDER = False": "CLEAN_ORDER = True"}


def test_a_champion_is_told_in_euros_with_its_exceptions_and_settings(tmp_path: Path) -> None:
    tables = company_tables()
    write_exports(tmp_path / "exports", tables=tables)
    arena = new_arena("invoices", tmp_path / "mine", NewWanted(tmp_path / "exports"))
    assert arena.measured
    (tmp_path / "champion").mkdir()
    text = (tmp_path / "mine" / "match.py").read_text()
    for old, new in CHANGES.items():
        text = text.replace(old, new)
    (tmp_path / "champion" / "match.py").write_text(text)
    command = [sys.executable, "mine/export.py", "champion", "--to", "result"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    report = (tmp_path / "result" / "report.md").read_text()
    [(saved, low, high)] = re.findall(
        r"\*\*(\S+) EUR per 1,000 invoices\*\* .*? interval (\S+) to\s(\S+)\), on", report
    )
    first, *rest = csv.reader((tmp_path / "result" / "settings.csv").read_text().splitlines())
    assert first == ["setting", "baseline", "champion"]
    assert sorted(rest) == [["CLEAN_ORDER", "False", "True"], ["DUPLICATES", "False", "True"]]
    number = [float(each.replace(",", "")) for each in (saved, low, high)]
    assert number[1] < number[0] < number[2]
    assert "+DUPLICATES = True" in (tmp_path / "result" / "code.diff").read_text()

    held = list(csv.DictReader((tmp_path / "result" / "exceptions.csv").read_text().splitlines()))
    assert held
    assert all(row["reason"] for row in held)
    sent = {(row["invoice_number"], row["invoice_date"]) for row in tables["invoices"]}
    assert {(row["invoice"], row["date"]) for row in held} <= sent
    assert any("same vendor and amount as invoice" in row["reason"] for row in held)
    assert any(row["reason"].startswith("no order found") and not row["order"] for row in held)


def test_a_champion_without_code_is_one_sentence(tmp_path: Path) -> None:
    program = Path(__file__).parents[1] / "arenas" / "invoices" / "export.py"
    command = [sys.executable, str(program), str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{tmp_path} has no match.py: write the champion there by mesh git export\n"
