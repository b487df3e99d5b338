"""Own data: files of many programs become checked tables, and what is not clear is asked for in one sentence."""

import json
from pathlib import Path

import pytest

from mesh.errors import BadInput
from mesh.own_data.files import read_table
from mesh.own_data.mapping import TableColumns, columns_of
from mesh.own_data.reading import CheckedTable, check_table
from mesh.own_data.template import OwnColumn, OwnTable
from mesh.own_data.values import Unclear, parse_column

BILLS = OwnTable(
    columns={
        "number": OwnColumn(required=True, aliases=("Invoice No", "BT-1"), meaning="the number"),
        "day": OwnColumn(type="date", required=True, aliases=("BLDAT",)),
        "total": OwnColumn(type="number", required=True, aliases=("Amount", "WRBTR")),
        "state": OwnColumn(type="choice", choices={"paid": ("Bezahlt", "POSTED"), "open": ()}),
    },
    key=("number",),
)


def checked(path: Path, *, skip_bad_rows: bool = False) -> CheckedTable:
    text = read_table(path)
    columns = columns_of("bills", BILLS, text.header, path.name, {})
    return check_table(text, BILLS, TableColumns(columns), skip_bad_rows=skip_bad_rows)


WANTED = {"number": "Ä-1", "day": "2024-03-31", "total": 1234.5}


@pytest.mark.parametrize(
    "data",
    [
        "number,day,total\nÄ-1,2024-03-31,1234.5\n".encode(),
        "\ufeffNumber;Day;Total\r\nÄ-1;31.03.2024;1.234,50 €\r\n".encode(),
        "*Invoice No\tBLDAT\tW.R.B.T.R.\nÄ-1\t20240331\t1234.50\n".encode("utf-16"),
        "bt_1;day;AMOUNT\nÄ-1;31/3/24;EUR 1 234,5\n".encode("cp1252"),
        'sep=;\nnumber;day;total\n"Ä-1";31-Mar-2024;"1.234,5"\n\n;;\n'.encode(),
        '\n"number"|"day"|"total"\n"Ä-1"|"Mar 31, 2024"|"1,234.50"\n'.encode(),
        "number,day,total,\nÄ-1,45382,+1234.5,\n".encode(),
    ],
    ids=["plain", "excel in German", "utf-16 and SAP", "cp1252", "sep line", "bars", "serial day"],
)
def test_exports_of_many_programs_are_read_alike(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bills.csv").write_bytes(data)
    [row] = checked(tmp_path / "bills.csv").rows
    assert {name: row[name] for name in WANTED} == WANTED


def test_lines_of_json_are_a_table_too(tmp_path: Path) -> None:
    lines = [
        json.dumps({"number": "1", "day": "2024-01-02", "total": 3}),
        "",
        '{"total": 4, "number": 2, "day": "2024-01-03T09:00"}',
    ]
    (tmp_path / "bills.jsonl").write_text("\n".join(lines))
    rows = checked(tmp_path / "bills.jsonl").rows
    assert [(row["line"], row["number"], row["day"], row["total"]) for row in rows] == [
        (1, "1", "2024-01-02", 3.0),
        (3, "2", "2024-01-03", 4.0),
    ]


REFUSED = {
    "": "bills.csv is empty: it needs a header and at least one row",
    "number,day,total\n": "bills.csv has a header but no row",
    "number,day,total\n1,2024-01-02,3\n2,soon,4\n": "line 3: day (day) has 'soon', which is not a date",
    'number,day,total\n"1\n2",2024-01-02,3\n2,2024-01-02,x\n3,2024-01-02,y\n': (
        "line 4: total (total) has 'x', which is not a number (so has line 5)"
    ),
    "number,day,total\n1,2024-01-02,3\n1,2024-01-03,4\n": "lines 2 and 3 have the same number '1'",
    "number,day,total\n1,2024-01-02,3,9\n": "line 2: it has 4 cells, but the header has 3 columns",
    "number,day,total\n1,2024-01-02,\n": "line 2: total (total) is empty",
    "number,day,total\n1,2024-02-30,3\n": "has '2024-02-30', which is not a date",
    "number,day,total\n1,03/04/2024,3\n": "'03/04/2024' may begin with the day or the month: "
    "say how they are written: --dates",
    'number,day,total\n1,2024-01-02,"1,234"\n': "'1,234' may be a thousand or a fraction: "
    "say how they are written: --decimal",
    "number,day,sum\n1,2024-01-02,3\n": (
        "bills.csv has no column total; accepted names are total, Amount, WRBTR; it has number, day, sum: "
        "say which it is, such as --map bills.total=sum"
    ),
    "number,day,amount,wrbtr\n1,2024-01-02,3,4\n": "amount, wrbtr may all be total (bills): "
    "say which it is: --map bills.total=amount",
    "number,number,total\n1,2,3\n": "line 1: two columns have the name 'number'",
    "number,day,total,state\n1,2024-01-02,3,lost\n": "has 'lost', which is not one of paid, open",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_used_is_one_sentence_with_line_and_cure(tmp_path: Path, text: str) -> None:
    (tmp_path / "bills.csv").write_bytes(text.encode())
    with pytest.raises(BadInput) as refused:
        checked(tmp_path / "bills.csv")
    assert REFUSED[text] in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bad_rows_can_be_left_out_and_are_listed(tmp_path: Path) -> None:
    (tmp_path / "bills.csv").write_text(
        'number,day,total,state\n1,2024-01-02,3,bezahlt\n2,soon,4,\n3,2024-01-04,5,Posted\n4,2024-01-05,1,5,"open"\n'
    )
    found = checked(tmp_path / "bills.csv", skip_bad_rows=True)
    assert [(row["number"], row["state"]) for row in found.rows] == [("1", "paid"), ("3", "paid")]
    assert found.left_out == (
        "line 3: day (day) has 'soon', which is not a date",
        "line 5: it has 5 cells, but the header has 4 columns",
    )


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.234", "0,5"], [1234.0, 0.5]),
        (["1,234", "0.5"], [1234.0, 0.5]),
        (["1.234.567", "1,5"], [1234567.0, 1.5]),
        (["12.50-", "+3", "-4", "$ 5", "1e3", "1’000.5"], [-12.5, 3.0, -4.0, 5.0, 1000.0, 1000.5]),
        (["12,345.00", "7"], [12345.0, 7.0]),
        (["0.125", "7"], [0.125, 7.0]),
    ],
)
def test_numbers_are_read_by_the_convention_of_their_column(cells: list[str], values: list[float]) -> None:
    assert parse_column(cells, "number") == parse_column(cells, "number", decimal="")
    assert list(parse_column(cells, "number").values) == values


def test_dates_are_read_by_the_convention_of_their_column() -> None:
    assert parse_column(["03/04/2024", "13/04/2024"], "date").values == ("2024-04-03", "2024-04-13")
    assert parse_column(["03/04/2024", "04/13/2024"], "date").values == ("2024-03-04", "2024-04-13")
    assert parse_column(["03/04/2024"], "date", order="mdy").values == ("2024-03-04",)
    assert parse_column(["3. März 2024", "2024/3/4", "5 Okt 24"], "date").values == (
        "2024-03-03",
        "2024-03-04",
        "2024-10-05",
    )
    with pytest.raises(Unclear, match="some dates begin with the day and some with the month"):
        parse_column(["13/04/2024", "04/13/2024"], "date")


def test_a_column_is_taken_by_its_own_name_before_an_alias_and_as_the_owner_says() -> None:
    header = ["Amount", "Total", "Number", "Day"]
    assert columns_of("bills", BILLS, header, "bills.csv", {})["total"] == "Total"
    assert columns_of("bills", BILLS, header, "bills.csv", {"total": "amount"})["total"] == "Amount"
    with pytest.raises(BadInput, match=r"--map total=Sum: bills\.csv has no column 'Sum': it has Amount, Total"):
        columns_of("bills", BILLS, header, "bills.csv", {"total": "Sum"})
