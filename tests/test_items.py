"""Scores of items: what a score program may write, and how well they say that a difference is real."""

import json
import math
import random

import numpy as np
import pytest
from scipy import stats

from mesh.items import (
    MOST_BYTES,
    BadItems,
    ItemScores,
    Spread,
    agree,
    from_object,
    kept,
    margin,
    match,
    parse_items,
    spread_of_difference,
    spread_of_mean,
    together,
)


def of(*values: float, clusters: tuple[int, ...] = (), ids: str = "") -> ItemScores:
    return ItemScores(values, clusters, ids)


def test_a_list_of_numbers_is_items_without_names() -> None:
    assert parse_items(b"[1, 0.5, 0]") == of(1, 0.5, 0)


def test_names_become_a_hash_and_clusters_numbers() -> None:
    text = {"values": [1, 2, 3, 4], "ids": ["a", 7, "b", "ü"], "clusters": ["x", "y", "x", 3]}
    found = parse_items(json.dumps(text).encode())
    assert list(found.clusters) == [0, 1, 0, 2]
    assert found.cluster_count == 3
    same = parse_items(json.dumps({**text, "values": [0, 0, 0, 0]}).encode())
    turned = parse_items(json.dumps({**text, "ids": ["ü", 7, "b", "a"]}).encode())
    assert found.ids == same.ids != turned.ids
    assert len(found.ids) == 64


def test_an_object_of_items_comes_back_and_has_no_names() -> None:
    items = parse_items(b'{"values": [0.25, 0.5], "ids": ["secret one", "secret two"], "clusters": ["a", "b"]}')
    data = items.to_bytes()
    assert from_object(data) == items
    assert b"secret" not in data
    fact = kept(items, data)
    assert (fact.count, fact.clusters, fact.ids) == (2, 2, items.ids)
    for damaged in (data[:-3], b"", b"x", b"\x93\xa0\xc4\x01a\xc4\x00"):
        with pytest.raises(BadItems):
            from_object(damaged)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must be a JSON list"),
        ("{}", "must be a JSON list"),
        ("[1, null]", "must be a JSON list"),
        ('[1, "2"]', "must be a JSON list"),
        ('{"values": [1, 2], "names": []}', "unknown field `names`"),
        ("[1, NaN]", "not finite"),
        ('{"values": [1, -Infinity]}', "not finite"),
        ("[1, 1e101]", "has the number 1e"),
        ("[1]", "has 1 items: write 2 to 100,000"),
        (json.dumps([0] * 100_001), "has 100,001 items: write 2 to 100,000"),
        ('{"values": [1, 2], "clusters": [1]}', 'has 1 "clusters" for 2 values'),
        ('{"values": [1, 2], "ids": ["a"]}', 'has 1 "ids" for 2 values'),
        ('{"values": [1, 2], "clusters": [1, 1]}', "has one cluster"),
        ('{"values": [1, 2, 3], "ids": ["a", "b", "a"]}', "has the item 'a' twice: a bootstrap"),
        ('{"values": [1, 2], "ids": [1, "1"]}', "has the item '1' twice"),
        (json.dumps({"values": [1, 2], "ids": ["a", "b" * 201]}), "use at most 200 characters"),
        ("[" * 5000, "must be a JSON list"),
        (" " * (MOST_BYTES + 1), "has more than 16,777,216 bytes"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(BadItems) as refused:
        parse_items(text.encode())
    assert sentence in str(refused.value)
    assert len(str(refused.value)) < 400


def test_the_mean_of_the_items_is_the_score_up_to_rounding() -> None:
    items = of(0.3, 0.4, 0.26)
    agree(items, 0.32)
    agree(items, 0.3203)
    for score in (0.33, 0.96, -0.32):
        with pytest.raises(BadItems, match=r"whose mean is 0\.32,"):
            agree(items, score)


def test_without_clusters_the_spread_is_that_of_the_t_test() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40)
    found = spread_of_difference(of(*one), of(*other), paired=True)
    assert found.dof == pytest.approx(39)
    assert (one - other).mean() / found.error == pytest.approx(stats.ttest_rel(one, other).statistic)


def test_two_samples_are_welchs_test() -> None:
    rng = np.random.default_rng(2)
    one, other = rng.normal(0, 1, 12), rng.normal(0, 3, 30)
    found = spread_of_difference(of(*one), of(*other), paired=False)
    welch = stats.ttest_ind(one, other, equal_var=False)
    assert (found.error, found.dof) == pytest.approx(((one.mean() - other.mean()) / welch.statistic, welch.df))


def test_clusters_of_equal_items_count_as_one_item_each() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1, 15)
    labels = np.repeat(np.arange(15), 20)
    assert spread_of_mean(np.repeat(values, 20), labels).error == pytest.approx(spread_of_mean(values).error)
    assert spread_of_mean(np.repeat(values, 20), labels).dof == pytest.approx(14)


def test_the_spread_over_unequal_clusters_is_that_of_the_matrices_of_bell_and_mccaffrey() -> None:
    rng = np.random.default_rng(4)
    sizes = [1, 1, 2, 3, 5, 8, 20]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = len(labels)
    values = rng.normal(0, 1, count)
    centre = np.eye(count) - 1 / count
    rows = []
    for number in range(len(sizes)):
        inside = (labels == number).astype(float)
        rows.append(inside / count / math.sqrt(1 - inside.sum() / count) @ centre)
    rows_ = np.array(rows)
    found = spread_of_mean(values, labels)
    assert found.error == pytest.approx(math.sqrt(((rows_ @ values) ** 2).sum()))
    freedoms = []
    for covariance in (np.eye(count), (labels[:, None] == labels[None, :]).astype(float)):
        inner = rows_ @ covariance @ rows_.T
        freedoms.append(np.trace(inner) ** 2 / np.trace(inner @ inner))
    assert found.dof == pytest.approx(min(freedoms))
    assert found.dof < 6


@pytest.mark.parametrize("sizes", [(30,) * 10, (60, 40, 20, 10, 5, 5), (3,) * 100])
def test_the_level_holds_where_clusters_are_few_and_unequal(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    made, passed = 3000, 0
    for _ in range(made):
        values = rng.normal(0, 0.5, len(sizes))[labels] + rng.normal(0, 1, len(labels))
        found = spread_of_mean(values, labels)
        passed += stats.t.sf(values.mean() / found.error, found.dof) <= 0.05
    assert passed / made <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / made)


def test_items_without_spread_have_none_and_one_cluster_says_nothing() -> None:
    assert spread_of_mean([2.0, 2.0, 2.0]).error == 0
    assert spread_of_mean([1.0, 2.0], [0, 0]) == Spread(math.inf, 0.0)
    assert together([Spread(1.0, 5.0), Spread(math.inf, 0.0)]) == Spread(math.inf, 0.0)
    assert together([Spread(0.0, 5.0), Spread(0.0, 3.0)]) == Spread(0.0, 3.0)


def test_items_match_by_name_or_else_by_seed_and_length() -> None:
    assert match(of(1, 2, ids="x"), of(3, 4, ids="x"), same_seed=False)
    assert not match(of(1, 2, ids="x"), of(3, 4, ids="y"), same_seed=True)
    assert match(of(1, 2), of(3, 4), same_seed=True)
    assert not match(of(1, 2), of(3, 4), same_seed=False)
    assert not match(of(1, 2), of(3, 4, 5), same_seed=True)
    assert not match(of(1, 2, clusters=(0, 1)), of(3, 4), same_seed=True)


def test_the_margin_is_that_of_students_interval() -> None:
    values = [random.Random(6).gauss(0, 1) for _ in range(25)]
    expected = stats.t.ppf(0.975, 24) * np.std(values, ddof=1) / 5
    assert margin(of(*values)) == pytest.approx(expected)
