"""What a gateway knows of commits: order, short hashes, children, lineage and leaves, folded fact by fact."""

import random
import time

import pytest

from gateway.commit_index import CommitIndex
from gateway.git_bundle import BadBundle
from mesh import wire
from mesh.errors import UnknownName
from mesh.events import CommitPushed
from mesh.testing import BEGAN, git_hash
from mesh.wire import Post


def folded(*pushes: tuple[str, str, tuple[str, ...]]) -> CommitIndex:
    """The index of a log of pushes: author, commit, parents."""
    index = CommitIndex()
    for seq, (author, commit, parents) in enumerate(pushes, 1):
        event = CommitPushed(commit=commit, tree=git_hash("t"), parents=parents, message=f"{seq}\nmore")
        post = Post.new(author, event)
        index.take(wire.entry(seq, BEGAN, wire.subject_of("a", post), wire.encode(post)))
    return index


A, B, C, D = "aaaa1" + "0" * 35, "aaaa2" + "0" * 35, "c" * 40, "d" * 40


def test_lists_are_newest_first_in_the_order_of_the_log_also_within_one_second() -> None:
    index = folded(("ann", C, ()), ("bob", A, (C,)), ("ann", B, (C,)), ("ann", D, (A, B)))
    assert [each.commit for each in index.newest(9)] == [D, B, A, C]
    assert [each.commit for each in index.newest(2, 1)] == [B, A]
    assert [each.commit for each in index.newest(9, 9)] == []
    assert [each.commit for each in index.newest(9, author="ann")] == [D, B, C]
    assert [each.commit for each in index.children(C)] == [B, A]
    assert [each.commit for each in index.children(B)] == [D]
    assert [each.commit for each in index.lineage(D, 9)] == [D, B, A, C]
    assert [each.commit for each in index.lineage(A, 9)] == [A, C]
    assert [each.commit for each in index.leaves()] == [D]
    known = index.get(B)
    assert known is not None
    assert (known.subject, known.root, known.created_at) == ("3", B, "2025-01-01T00:00:00Z")


def test_a_short_hash_finds_its_commit_or_says_that_it_is_ambiguous() -> None:
    index = folded(("ann", A, ()), ("ann", B, ()))
    assert index.find("aaaa1").commit == A
    assert index.find(A).commit == A
    with pytest.raises(BadBundle, match=r"^hash aaaa is ambiguous: aaaa100000, aaaa200000 begin so; write more of it$"):
        index.find("aaaa")
    for word in ("bbbb", f"{A}00", "0" * 64):
        with pytest.raises(UnknownName, match=r"^commit not found$"):
            index.find(word)


def test_the_first_push_of_a_commit_counts_and_unknown_parents_are_kept() -> None:
    index = folded(("ann", A, (D,)), ("eve", A, ()))
    known = index.get(A)
    assert known is not None
    assert (known.author, known.parents) == ("ann", (D,))
    assert [each.commit for each in index.lineage(A, 9)] == [A]
    assert [each.commit for each in index.children(D)] == [A]


def test_leaves_of_ten_thousand_commits_are_at_hand() -> None:
    rng, names = random.Random(1), [git_hash(f"c{number}") for number in range(10_000)]
    pushes = [("ann", name, (names[rng.randrange(n)],) if n else ()) for n, name in enumerate(names)]
    index = folded(*pushes)
    parents = {parent for _, _, each in pushes for parent in each}
    began = time.process_time()
    found = [each.commit for each in index.leaves()]
    assert time.process_time() - began < 0.25  # it is some milliseconds
    assert found == [name for name in reversed(names) if name not in parents]
