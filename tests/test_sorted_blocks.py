"""Blocks and cells, which cost the same however long a log is, find what a look at all items finds."""

import random

import numpy as np
import pytest

from agents.search.cells import Cells
from agents.search.sorted_blocks import SortedBlocks


@pytest.mark.parametrize("seed", range(20))
def test_blocks_have_the_items_of_a_sorted_list_after_each_change(seed: int) -> None:
    dice = random.Random(seed)
    plain = sorted(dice.choice((0.5, dice.random())) for _ in range(dice.choice((0, 1, 40))))
    blocks, count = SortedBlocks(plain, block=dice.choice((1, 2, 8))), dice.choice((1, 3))
    for _ in range(400):
        if plain and dice.random() < 0.48:
            gone = dice.choice(plain)
            plain.remove(gone)
            blocks.remove(gone)
        else:
            item = dice.choice((0.5, dice.random(), round(dice.random(), 1)))
            plain = sorted([*plain, item])
            blocks.add(item)
        assert list(blocks) == plain
        assert bool(blocks) == bool(plain)
        assert blocks.leading(count) == plain[:count]
        if plain:
            assert (blocks.first, blocks.last) == (plain[0], plain[-1])


def test_the_leading_items_are_the_same_list_until_the_first_block_changes() -> None:
    blocks = SortedBlocks(range(0, 100, 2), block=8)
    leading = blocks.leading(3)
    blocks.add(51)
    blocks.remove(98)
    assert blocks.leading(3) is leading
    blocks.add(1)
    assert blocks.leading(3) == [0, 1, 2]
    assert blocks.leading(2) == [0, 1]
    blocks.remove(0)
    assert blocks.leading(2) == [1, 2]


@pytest.mark.parametrize("seed", range(8))
def test_a_small_box_meets_few_rows_of_a_grid_and_all_that_lie_in_it(seed: int) -> None:
    dice, rng = random.Random(seed), np.random.default_rng(seed)
    size, least = 6000, dice.choice((0, 100))
    columns = [rng.random(size), rng.normal(size=size) ** 3, rng.choice([0.0, 1.0, np.nan], size), np.ones(size)]
    columns[0][rng.random(size) < 0.05] = np.inf
    cells, met, asked = Cells(least), 0, 0
    until = least + 1
    while until <= size:
        row = dice.randrange(until)
        box = [(column[row] - 0.01, column[row] + 0.01) for column in columns]
        spans = cells.spans(columns, until, box)
        assert spans is not None
        found = cells.rows(spans, 2000)
        inside = np.all(
            [
                np.isnan(column[:until]) if np.isnan(low) else (column[:until] >= low) & (column[:until] <= high)
                for column, (low, high) in zip(columns, box, strict=True)
            ],
            axis=0,
        )
        if found is not None:
            assert found == sorted(found)
            assert set(np.flatnonzero(inside[: cells.size]).tolist()) <= set(found) <= set(range(cells.size))
            met, asked = met + len(found), asked + cells.size
        assert until - cells.size <= max(least, cells.size // 64)  # only the latest rows have no cells
        until += dice.randrange(1, 120)
    assert 0 < met < asked / 10
