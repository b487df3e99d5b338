"""Into what the workers' time went, and what is said where that is odd."""

import pytest

from mesh.worker_time import RunTime, WorkerTime, time_advice, time_words, worker_time


def spent(**seconds: float) -> WorkerTime:
    """Return the sums of forty runs: ten of each lane, `failed` seconds in one run of search."""
    failed = [RunTime("explore", seconds.pop("failed"), failed=True)] if "failed" in seconds else []
    return worker_time(
        [*failed, *(RunTime(lane, s / 10, failed=False) for lane, s in seconds.items() for _ in range(10))]
    )


def test_the_shares_of_search_proof_and_controls_add_up() -> None:
    time = spent(explore=50.0, failed=10.0, confirm=30.0, control=8.0, sealed=2.0)
    assert (time.search_s, time.failed_s, time.proof_s, time.controls_s) == pytest.approx((60.0, 10.0, 30.0, 8.0))
    assert (time.total_s, time.proof_share, time.runs) == pytest.approx((100.0, 0.38, 41))
    assert time_words(time) == "100.0 seconds: search 60% (failed runs 10%), proof 30%, controls 8%, sealed looks 2%"
    assert time_words(worker_time([])) == ""


def test_only_what_is_odd_gets_advice() -> None:
    assert time_advice(spent(explore=60.0, confirm=40.0), 0.4) == []
    assert time_advice(spent(explore=49.0, confirm=41.0, control=10.0), 0.4) == []  # but for eight runs, it is 31 %
    assert time_advice(spent(explore=10.0, confirm=80.0, control=10.0), 0.4) == [
        "proof took 90% of the time, more than the 40% that it may take from search: search had too little to run; "
        "start more explorers or a model"
    ]
    assert time_advice(spent(explore=10.0, confirm=80.0, control=10.0), 0.6) == []
    [failing] = time_advice(spent(explore=70.0, failed=30.0, confirm=10.0), 0.4)
    assert failing.startswith("30% of the time of search went into failed runs: `mesh sql")
    # a failed run of proof is not one of search, and a few runs say nothing
    assert time_advice(worker_time([RunTime("confirm", 1.0, failed=True)] * 30), 1.0) == []
    assert time_advice(worker_time([RunTime("explore", 1.0, failed=True)] * 19), 0.4) == []
