"""The Gaussian process: how it warps losses, and that it proposes what is new."""

from itertools import product
from random import Random

import numpy as np
import pytest

from agents.search.samplers.gaussian import Gaussian, warped
from agents.search.samplers.protocol import Trial, where
from mesh.knobs import Knob, are_near


@pytest.mark.parametrize(
    "losses",
    [
        [3.0, 1.0, 2.0, 2.0, 9.0, 1e300, -4.0],
        [0.0, 0.0, 0.0, 1.0],
        [1.0, 2.0],
        [-1e300, 1e300, 0.0, 1.0],
        [1e-12, 2e-12, 5.0, 7.0, 7.0],
    ],
)
def test_warped_losses_keep_their_order_and_have_mean_0_and_variance_1(losses: list[float]) -> None:
    found = warped(losses)
    assert found[np.argsort(losses, kind="stable")].tolist() == sorted(found)
    assert (found.mean(), found.std()) == pytest.approx((0, 1), abs=1e-9)


def test_equal_losses_say_nothing_and_scale_and_offset_do_not_matter() -> None:
    assert warped([2.0, 2.0, 2.0]).tolist() == [0, 0, 0]
    losses = [5.0, 1.0, 3.0, 2.5, 8.0, 13.0]
    assert warped([1000 * loss - 7 for loss in losses]) == pytest.approx(warped(losses))


def test_an_outlier_among_the_bad_results_changes_nothing_and_distances_among_the_good_ones_count() -> None:
    losses = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert warped([*losses[:-1], 1e9]) == pytest.approx(warped(losses))
    near, far = warped([0.9, *losses[1:]]), warped([-9.0, *losses[1:]])
    assert far[1] - far[0] > 3 * (near[1] - near[0]) > 0


def test_it_proposes_a_new_point_where_all_but_a_few_were_tried() -> None:
    space = [Knob(file="t.py", name=name, value=2, low=0.0, high=5.0) for name in ("A", "B")]
    left = {(5, 5), (4, 5), (5, 4)}
    tried = [each for each in product(range(6), repeat=2) if each not in left]
    trials = [
        Trial(tree=f"{n}", seq=n, values=dict(zip(map(where, space), each, strict=True)), loss=float(sum(each)))
        for n, each in enumerate(tried)
    ]
    for seed in range(10):
        values = Gaussian().ask(space, trials, [], Random(seed)).values
        assert not any(are_near(space, values, trial.values) for trial in trials)
