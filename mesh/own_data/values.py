"""Turns the text of a column into dates, numbers and flags, as programs of several countries write them. Pure.

A column has one convention: whether 1,234 is a thousand or one and a bit, and whether 03/04 is March or April, is found
from all of its values. Where they leave it open, the caller must say which it is.
"""

import datetime as dt
import re
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

ColumnType = Literal["text", "number", "integer", "date", "flag", "choice"]
Decimal = Literal["", "point", "comma"]
DateOrder = Literal["", "dmy", "mdy"]
CellValue = str | float | int | bool | None

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("jan janvier ene", "feb fev febrero", "mar maer mrz mär mars", "apr avr abr", "may mai mayo", "jun juin"),
            *("jul juil", "aug aou ago", "sep", "oct okt", "nov", "dec dez dic"),
        ),
        start=1,
    )
    for name in names.split()
}
_CLOCK = re.compile(r"[T ]+\d{1,2}:\d{2}.*$")
_YEAR_FIRST = re.compile(r"(\d{4})\s?[-/. ]\s?(\d{1,2})\s?[-/. ]\s?(\d{1,2})|(\d{4})(\d{2})(\d{2})")
_YEAR_LAST = re.compile(r"(\d{1,2})\s?([-/. ])\s?(\d{1,2})\s?[-/. ]\s?(\d{4}|\d{2})")
_NAMED = re.compile(r"(\d{1,2})[-. ]{1,2}([^\W\d]{3,10})\.?[-, ]{1,2}(\d{4}|\d{2})")
_NAMED_FIRST = re.compile(r"([^\W\d]{3,10})\.? (\d{1,2}),? (\d{4})")
_SERIAL = re.compile(r"[2-6]\d{4}(?:\.\d+)?")
_EXCEL = dt.date(1899, 12, 30)
_SIGN = re.compile(
    r"[\s'’_\u00a0\u202f]|[$€£¥₹]|\b(?:EUR|USD|GBP|CHF|JPY|SEK|NOK|DKK|PLN|CZK|CAD|AUD|NZD|INR|Kč|zł|kr)\b"
)
_NUMBER = re.compile(r"[+-]?(?:\d[\d.,]*|[.,]\d+)(?:[eE][+-]?\d{1,3})?")
_TRUE = {"true", "yes", "y", "1", "x", "ja", "oui", "si", "sí", "wahr"}
_FALSE = {"false", "no", "n", "0", "", "nein", "non", "falsch"}


class Unclear(ValueError):
    """The values of a column fit two conventions; `option` names what decides."""

    def __init__(self, sentence: str, option: str) -> None:
        super().__init__(sentence)
        self.option = option


class Parsed(msgspec.Struct, frozen=True):
    """The values of a column in order, None where a cell is empty or wrong, and the places and texts of wrong ones."""

    values: tuple[CellValue, ...]
    wrong: tuple[tuple[int, str], ...]


def parse_column(cells: Sequence[str], kind: ColumnType, *, decimal: Decimal = "", order: DateOrder = "") -> Parsed:
    """Return the values of a column: dates as ISO text, numbers as floats or integers, choices and text unchanged.

    Args:
        cells: the text of each row; "" is empty.
        kind: what the column holds.
        decimal: the decimal sign, "" to find it.
        order: of day and month where the year comes last, "" to find it.

    Raises:
        Unclear: the values fit two conventions, and none was given.
    """
    make: Callable[[str], CellValue]
    match kind:
        case "number" | "integer":
            sign = decimal or decimal_of(cells)
            make = (lambda cell: parse_number(cell, sign)) if kind == "number" else (lambda cell: _whole(cell, sign))
        case "date":
            first = order or order_of(cells)
            make = lambda cell: parse_date(cell, first)  # noqa: E731
        case "flag":
            make = _flag
        case "text" | "choice":
            return Parsed(tuple(cell or None for cell in cells), ())
    values: list[CellValue] = []
    wrong = []
    for place, cell in enumerate(cells):
        try:
            values.append(make(cell) if cell else None)
        except ValueError:
            values.append(None)
            wrong.append((place, cell))
    return Parsed(tuple(values), tuple(wrong))


def decimal_of(cells: Sequence[str]) -> Decimal:
    """Return the decimal sign of a column, "" if no value has one; raises `Unclear` where both signs fit."""
    shown: set[Decimal] = set()
    open_to_both = ""
    for cell in cells:
        text = _SIGN.sub("", cell)
        points, commas = text.count("."), text.count(",")
        if points and commas:
            shown.add("point" if text.rfind(".") > text.rfind(",") else "comma")
        elif points + commas > 1:
            shown.add("comma" if points else "point")  # the other one separates thousands
        elif points + commas == 1:
            whole, _, part = text.strip("+-()").partition("." if points else ",")
            if len(part) == 3 and part.isdigit() and 1 <= len(whole) <= 3 and whole != "0":
                open_to_both = open_to_both or cell
            else:
                shown.add("point" if points else "comma")
    if len(shown) == 2:
        raise Unclear("some values have a decimal comma and some a decimal point", "--decimal")
    if open_to_both and not shown:
        raise Unclear(f"{open_to_both!r} may be a thousand or a fraction", "--decimal")
    return shown.pop() if shown else ""


def parse_number(cell: str, decimal: Decimal) -> float:
    """Return a number as people write it: `1.234,50 €`, `(12.00)`, `100.00-`; raises ValueError."""
    text = _SIGN.sub("", cell)
    negative = text.startswith("(") and text.endswith(")")
    text = text.strip("()")
    if text.endswith("-"):
        negative, text = not negative, text[:-1]
    if not _NUMBER.fullmatch(text):
        raise ValueError(cell)
    text = text.replace(".", "").replace(",", ".") if decimal == "comma" else text.replace(",", "")
    value = float(text)
    if not abs(value) < 1e15:
        raise ValueError(cell)
    return -value if negative else value


def _whole(cell: str, decimal: Decimal) -> int:
    value = parse_number(cell, decimal)
    if value != int(value):
        raise ValueError(cell)
    return int(value)


def _flag(cell: str) -> bool:
    if cell.lower() in _TRUE | _FALSE:
        return cell.lower() in _TRUE
    raise ValueError(cell)


def order_of(cells: Sequence[str]) -> DateOrder:
    """Return the order of day and month in a column of dates; raises `Unclear` where both fit."""
    shown: set[DateOrder] = set()
    open_to_both = ""
    for cell in cells:
        if found := _YEAR_LAST.fullmatch(_CLOCK.sub("", cell)):
            if found[2] == "." or int(found[1]) > 12:
                shown.add("dmy")
            elif int(found[3]) > 12:
                shown.add("mdy")
            elif found[1] != found[3]:
                open_to_both = open_to_both or cell
    if len(shown) == 2:
        raise Unclear("some dates begin with the day and some with the month", "--dates")
    if open_to_both and not shown:
        raise Unclear(f"{open_to_both!r} may begin with the day or the month", "--dates")
    return shown.pop() if shown else ""


def parse_date(cell: str, order: DateOrder) -> str:
    """Return a date as ISO text; a time of day is left out; raises ValueError."""
    text = _CLOCK.sub("", cell)
    if found := _YEAR_FIRST.fullmatch(text):
        year, month, day = (int(part) for part in found.groups() if part)
    elif found := _YEAR_LAST.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), _year(found[4])
        day, month = (second, first) if order == "mdy" else (first, second)
    elif found := _NAMED.fullmatch(text):
        day, month, year = int(found[1]), _month(found[2]), _year(found[3])
    elif found := _NAMED_FIRST.fullmatch(text):
        day, month, year = int(found[2]), _month(found[1]), int(found[3])
    elif _SERIAL.fullmatch(text):  # a day as a spreadsheet counts it
        return (_EXCEL + dt.timedelta(int(float(text)))).isoformat()
    else:
        raise ValueError(cell)
    return dt.date(year, month, day).isoformat()


def _year(text: str) -> int:
    return int(text) if len(text) == 4 else 2000 + int(text) if int(text) < 70 else 1900 + int(text)


def _month(name: str) -> int:
    name = name.lower()
    for length in (4, 3):
        if name[:length] in _MONTHS:
            return _MONTHS[name[:length]]
    raise ValueError(name)
