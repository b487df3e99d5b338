"""The contract of the bus over the connection of a member, who has few rights: it makes no consumer and no stream."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.bus import ArenaBus
from mesh.events import LANES
from mesh.jetstream import connect
from mesh.jetstream.queue import make_queue
from tests.conftest import OpenBus
from tests.support.member_hub import ROLES, member_hub
from tests.test_bus import (
    test_a_post_that_is_too_large_is_refused_in_one_sentence,
    test_a_reader_follows_what_comes_later,
    test_a_reader_gets_only_what_its_patterns_want,
    test_an_extended_lease_is_kept,
    test_an_idle_member_is_given_new_work,
    test_earlier_kinds_of_work_come_first_and_handed_back_work_comes_again,
    test_entries_are_fetched_by_their_sequences_in_the_order_that_is_asked_for,
    test_every_critic_may_judge_a_target_once,
    test_many_posts_in_flight_all_arrive_once,
    test_objects_of_any_size_come_back_whole,
    test_of_many_authors_at_once_one_wins,
    test_posting_the_same_post_again_is_done_already,
    test_reading_starts_after_and_ends_at_a_sequence,
    test_the_kind_that_comes_first_now_is_given_before_earlier_kinds,
    test_the_log_is_found_by_time,
    test_the_second_author_of_a_fact_is_told_whose_it_is,
    test_what_is_posted_is_read_back_in_order,
    test_what_is_told_is_heard,
    test_work_goes_to_one_member_and_comes_again_when_a_lease_ends,
)

__all__ = [
    "test_a_post_that_is_too_large_is_refused_in_one_sentence",
    "test_a_reader_follows_what_comes_later",
    "test_a_reader_gets_only_what_its_patterns_want",
    "test_an_extended_lease_is_kept",
    "test_an_idle_member_is_given_new_work",
    "test_earlier_kinds_of_work_come_first_and_handed_back_work_comes_again",
    "test_entries_are_fetched_by_their_sequences_in_the_order_that_is_asked_for",
    "test_every_critic_may_judge_a_target_once",
    "test_many_posts_in_flight_all_arrive_once",
    "test_objects_of_any_size_come_back_whole",
    "test_of_many_authors_at_once_one_wins",
    "test_posting_the_same_post_again_is_done_already",
    "test_reading_starts_after_and_ends_at_a_sequence",
    "test_the_kind_that_comes_first_now_is_given_before_earlier_kinds",
    "test_the_log_is_found_by_time",
    "test_the_second_author_of_a_fact_is_told_whose_it_is",
    "test_what_is_posted_is_read_back_in_order",
    "test_what_is_told_is_heard",
    "test_work_goes_to_one_member_and_comes_again_when_a_lease_ends",
]

_A = "{{tag(arena)}}"
_QUEUES = ["workers_run-requested", *(f"workers_run-requested-{lane}" for lane in LANES), "w_run-requested"]
_ASKS = [s for q in _QUEUES for s in (f"$JS.API.CONSUMER.MSG.NEXT.MESH_{_A}.{q}", f"$JS.ACK.MESH_{_A}.{q}.>")]
ANYBODY = {
    "anybody": (
        [*ROLES["observer"][0], *_ASKS, f"mesh.{_A}.>", f"meshobj.{_A}.>", f"live.{_A}.>", "_INBOX_{{name()}}.>"],
        [*ROLES["observer"][1], f"live.{_A}.>"],
    )
}
"""A role whose members speak for everybody, but read and work with the subjects of a member."""


@pytest.fixture
def open_bus(tmp_path: Path) -> Iterator[OpenBus]:
    """Open the bus of arena `a` as a member; every call of one test reaches the same log."""
    with member_hub(tmp_path / "hub", ANYBODY) as hub:
        credentials = hub.member("anybody", "ann")

        @asynccontextmanager
        async def as_member() -> AsyncIterator[ArenaBus]:
            async with connect(hub.url, credentials=hub.owner) as owner:
                await owner.arena("a", create=True)
                for queue, kinds in (("workers", ["run.requested"]), ("w", ["run.requested"])):
                    await make_queue(owner.link, "a", queue, kinds, 1)
            async with connect(hub.url, credentials=credentials) as connected:
                yield await connected.arena("a")

        yield as_member
