"""One measured quantity of a process or an arena, as Prometheus knows it; `mesh.web.metrics` shows them."""

from collections.abc import Mapping
from typing import Literal

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """One value of a metric, with the labels that tell it from the others."""

    value: float
    labels: Mapping[str, str] = {}


class ShownMetric(msgspec.Struct, frozen=True):
    """A metric: a `counter` only grows, and its name ends in `_total`. What is unknown has no sample."""

    name: str
    about: str
    samples: tuple[Sample, ...]
    kind: Literal["gauge", "counter"] = "gauge"
