"""Scores of single items: what a score program writes to `MESH_ITEMS`, and what two such vectors say of a difference.

With `noise = "items"` a score is the mean of its items: queries, invoices, days. Two proposals that were scored on the
same items are compared item by item. Where items belong together (queries of one page, invoices of one vendor), they
are clusters, and only the differences between clusters count. Pure.

Sources: Bell and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples" (2002),
for the variance and its degrees of freedom with few or unequal clusters; Cameron and Miller, "A practitioner's guide to
cluster-robust inference" (2015); Welch (1947) and Satterthwaite (1946) for two samples of unequal variance.
"""

import hashlib
import math
import re
from array import array
from collections.abc import Sequence
from typing import Any

import msgspec

from mesh.decoding import decode_json
from mesh.fact_values import ItemsKept

MOST_ITEMS = 100_000
MOST_BYTES = 16 * 1024**2
"""Largest file of items."""

_AGREE = 1e-3
"""Largest difference of the score from the mean of its items, as a share of the largest item: scores are rounded."""

_LABEL = 200
"""Longest name of an item or a cluster, in characters."""

_Label = str | int


class BadItems(Exception):
    """The items of a score cannot be used; the message is a sentence without its subject, `MESH_ITEMS`."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    values: list[float]
    clusters: list[_Label] | None = None
    ids: list[_Label] | None = None


_FORMS: Any = list[float] | _File


class ItemScores(msgspec.Struct, frozen=True):
    """The scores of the items of one run.

    Attributes:
        values: one number per item, in units of the metric.
        clusters: the number of each item's cluster, from 0; empty where every item stands for itself.
        ids: sha256 of the names of the items in their order, "" where they have none.
    """

    values: tuple[float, ...]
    clusters: tuple[int, ...] = ()
    ids: str = ""

    def to_bytes(self) -> bytes:
        """Return the object that stands for these items in the object store: no names, only numbers."""
        return msgspec.msgpack.encode(
            (self.ids, array("d", self.values).tobytes(), array("i", self.clusters).tobytes())
        )

    @property
    def cluster_count(self) -> int:
        """The number of clusters, 0 without clusters."""
        return len(set(self.clusters))


def from_object(data: bytes) -> ItemScores:
    """Return the items in an object.

    Raises:
        BadItems: it has none.
    """
    values, clusters = array("d"), array("i")
    try:
        ids, raw, labels = msgspec.msgpack.decode(data, type=tuple[str, bytes, bytes])
        values.frombytes(raw)
        clusters.frombytes(labels)
    except (msgspec.MsgspecError, ValueError):
        raise BadItems("is not an object of items") from None
    if not values or len(values) > MOST_ITEMS or len(clusters) not in (0, len(values)):
        raise BadItems("is not an object of items")
    return ItemScores(tuple(values), tuple(clusters), ids)


def parse_items(data: bytes) -> ItemScores:
    """Return the items in a file: a JSON list of numbers, or an object with `values`, `clusters` and `ids`.

    Raises:
        BadItems: the file has no items, too many, numbers that are not finite, lists of unequal lengths, or one item
            twice.
    """
    if len(data) > MOST_BYTES:
        raise BadItems(f"has more than {MOST_BYTES:,} bytes: write fewer items, or shorter names")
    try:
        found: list[float] | _File = decode_json(data, _FORMS)
    except msgspec.MsgspecError as error:
        if re.search(rb"\b(NaN|-?Infinity)\b", data):
            raise BadItems("has a number that is not finite (NaN or Infinity): write finite numbers") from None
        what = str(error).replace("$.", "").replace("$[...]", "an item")
        raise BadItems(
            f'must be a JSON list of numbers, or an object with "values", "clusters" and "ids": {what}'
        ) from None
    file = found if isinstance(found, _File) else _File(found)
    values = file.values
    if not 2 <= len(values) <= MOST_ITEMS:
        raise BadItems(f"has {len(values):,} items: write 2 to {MOST_ITEMS:,}")
    if worst := next((value for value in values if not abs(value) <= 1e100), None):
        raise BadItems(f"has the number {worst:g}: write finite numbers of at most 1e100")
    for name, labels in (("clusters", file.clusters), ("ids", file.ids)):
        if labels is not None and len(labels) != len(values):
            raise BadItems(f'has {len(labels):,} "{name}" for {len(values):,} values: write one for each')
        if labels is not None and (long := next((x for x in labels if len(str(x)) > _LABEL), None)):
            raise BadItems(f'has {str(long)[:40]!r}… in "{name}": use at most {_LABEL} characters')
    if file.ids is not None and len(set(map(str, file.ids))) < len(values):
        twice = _first_twice(list(map(str, file.ids)))
        raise BadItems(
            f"has the item {twice[:40]!r} twice: a bootstrap of items is no fresh evidence, and proves gains that are "
            "not there; write each item once"
        )
    numbers: dict[str, int] = {}
    clusters = tuple(numbers.setdefault(str(label), len(numbers)) for label in file.clusters or ())
    if file.clusters is not None and len(numbers) < 2:
        raise BadItems("has one cluster: differences between clusters prove, so use 2 or more, or leave clusters out")
    ids = hashlib.sha256(msgspec.json.encode(list(map(str, file.ids)))).hexdigest() if file.ids else ""
    return ItemScores(tuple(values), clusters, ids)


def agree(items: ItemScores, score: float) -> None:
    """Check that a score is the mean of its items, up to rounding.

    Raises:
        BadItems: it is not.
    """
    mean = math.fsum(items.values) / len(items.values)
    if abs(mean - score) > _AGREE * max(map(abs, items.values)):
        raise BadItems(
            f"has {len(items.values):,} items whose mean is {mean:.6g}, but the score is {score:.6g}: write what each "
            "item adds, so that their mean is the metric"
        )


def kept(items: ItemScores, data: bytes) -> ItemsKept:
    """Return what a fact says of items that are kept as the object `data`."""
    return ItemsKept(
        sha256=hashlib.sha256(data).hexdigest(),
        count=len(items.values),
        clusters=items.cluster_count,
        ids=items.ids,
    )


def margin(items: ItemScores) -> float:
    """Return half of the 95 % interval of a score over its items, in units of the metric."""
    from scipy.special import stdtrit  # takes half a second to import

    found = spread_of_mean(items.values, items.clusters)
    return float(stdtrit(found.dof, 0.975)) * found.error


class Spread(msgspec.Struct, frozen=True):
    """How well a mean over items is known: its standard error, in units of the metric, and degrees of freedom."""

    error: float
    dof: float


def spread_of_mean(values: Any, clusters: Any = ()) -> Spread:
    """Return how well the mean of items is known.

    The variance is corrected for few and unequal clusters (CR2). The degrees of freedom are those that the same
    estimate has where items are independent, or where all items of a cluster are equal, whichever is less.

    Args:
        values: one number per item, an array.
        clusters: the number of each item's cluster, an array; empty where every item stands for itself.
    """
    import numpy as np

    values = np.asarray(values, dtype=float)
    count = len(values)
    labels = np.unique(np.asarray(clusters), return_inverse=True)[1] if len(clusters) else np.arange(count)
    share = np.bincount(labels) / count
    if len(share) < 2:
        return Spread(math.inf, 0.0)
    rest = values - values.mean()
    sums = np.bincount(labels, weights=rest)
    variance = float((sums**2 / (1 - share)).sum()) / count**2
    weight = share**2 / (1 - share)
    squares, square = float((share**2).sum()), float(weight.sum())
    alone = 1 / (squares - float((weight**2).sum()) + square**2)
    own = 1 - 2 * share + squares
    apart = squares / 2 - share
    off = 2 * float((weight * apart**2).sum()) * square + 2 * float((weight * apart).sum()) ** 2
    diagonal = float((weight**2 * (own**2 - (2 * apart) ** 2)).sum())
    together = float((weight * own).sum()) ** 2 / (diagonal + off)
    return Spread(math.sqrt(variance), max(1.0, min(alone, together)))


def match(one: ItemScores, other: ItemScores, *, same_seed: bool) -> bool:
    """Tell whether two vectors are of the same items: of equal names, or without names, of equal length and seed."""
    if len(one.values) != len(other.values) or one.clusters != other.clusters or one.ids != other.ids:
        return False
    return bool(one.ids) or same_seed


def spread_of_difference(one: ItemScores, other: ItemScores, *, paired: bool) -> Spread:
    """Return how well the difference of two means over items is known: in pairs, or as two samples."""
    import numpy as np

    if paired:
        return spread_of_mean(np.array(one.values) - np.array(other.values), one.clusters)
    return together([spread_of_mean(each.values, each.clusters) for each in (one, other)])


def together(spreads: Sequence[Spread]) -> Spread:
    """Return the spread of a sum of independent means; its degrees of freedom are Satterthwaite's."""
    total = sum(each.error**2 for each in spreads)
    if any(not each.dof for each in spreads) or not math.isfinite(total):
        return Spread(math.inf, 0.0)
    if not total:
        return Spread(0.0, min(each.dof for each in spreads))
    return Spread(math.sqrt(total), total**2 / sum(each.error**4 / each.dof for each in spreads))


def _first_twice(labels: Sequence[str]) -> str:
    seen: set[str] = set()
    for label in labels:
        if label in seen:
            return label
        seen.add(label)
    return ""
