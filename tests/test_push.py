"""Pushes of real git bundles: what becomes a commit, what a proposal, what is refused, and that it is said once."""

import os
import tempfile
from pathlib import Path

import anyio
import pytest

from gateway.commit_diff import commit_diff
from gateway.fetch import fetch
from gateway.git_bundle import BadBundle
from gateway.propose import propose
from gateway.push import CommitLog
from mesh.errors import BusUnavailable
from mesh.events import CommitPushed, ProposalPosted
from mesh.memory import MemoryBus
from mesh.testing import FILES, TRAIN
from mesh.wire import Post
from tests.support.commits import Git, commit_log, push_file

WIDER = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 9")
WIDEST = TRAIN.replace(b"WIDTH = 8", b"WIDTH = 16")


async def facts(log: CommitLog) -> list[object]:
    found: list[object] = []
    async for batch in log.door.bus.read():
        found += [entry.post.event for entry in batch if entry.post]
    return found


def hashes(found: list[object]) -> list[str]:
    return [event.commit for event in found if isinstance(event, CommitPushed)]


def proposals(found: list[object]) -> list[ProposalPosted]:
    return [event for event in found if isinstance(event, ProposalPosted)]


async def test_every_commit_of_a_push_is_posted_parents_first_and_its_head_is_proposed(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    first = git.commit(FILES, "baseline")
    middle = git.commit({"train.py": WIDER}, "wider")
    head = git.commit({"train.py": WIDEST}, "widest\n\nIt learns more.")
    async with commit_log(tmp_path) as log:
        done = await push_file(log, git.bundle("HEAD"))
        found = await facts(log)
        assert (done.hashes, done.new) == ((head,), 3)
        assert hashes(found) == [first, middle, head]
        [baseline, proposal] = proposals(found)
        assert (proposal.title, proposal.rationale, proposal.origin.name) == ("widest", "It learns more.", "ann")
        assert done.heads[0].proposal == proposal.tree
        assert proposal.parents == (baseline.tree,)
        again = await push_file(log, git.bundle("HEAD"))
        assert (again.hashes, again.new, again.heads) == (done.hashes, 0, done.heads)
        assert await facts(log) == found


async def test_a_new_gateway_fetches_what_was_pushed_from_log_and_store_alone(tmp_path: Path) -> None:
    bus, git = MemoryBus("a"), Git(tmp_path / "work")
    git.commit(FILES, "baseline")
    for width in range(9, 15):
        git.commit({"train.py": TRAIN.replace(b"WIDTH = 8", b"WIDTH = %d" % width)}, f"width {width}")
    async with commit_log(tmp_path / "one", bus=bus) as log:
        await push_file(log, git.bundle("HEAD"))
    async with commit_log(tmp_path / "two", bus=bus) as log:
        for word in (git("rev-parse", "HEAD"), git("rev-parse", "--short=7", "HEAD~3")):
            known, bundle = log.commits.find(word), tmp_path / "fetched.bundle"
            with bundle.open("wb") as file:
                await fetch(log, known, file)
            other = Git(tmp_path / word)
            other("bundle", "verify", str(bundle))
            other("fetch", "-q", str(bundle), f"refs/tmp/bundle-{known.commit[:8]}:refs/heads/got")
            assert other("log", "--format=%H %s", "got") == git("log", "--format=%H %s", known.commit)
            other("fsck", "--strict")


async def test_thin_packs_merges_and_tags_are_taken(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    base = git.commit({**FILES, "notes.txt": b"".join(b"%d\n" % n for n in range(3000))}, "baseline")
    async with commit_log(tmp_path) as log:
        await push_file(log, git.bundle("HEAD"))
        git("checkout", "-q", "-b", "other")
        side = git.commit({"notes.txt": b"".join(b"%d\n" % n for n in range(1, 3000))}, "side")
        git("checkout", "-q", "main")
        git.commit({"train.py": WIDER}, "wider")
        git("merge", "-q", "-m", "both", "other")
        merge = git("rev-parse", "HEAD")
        git("tag", "-a", "-m", "a tag", "v1")
        done = await push_file(log, git.bundle("HEAD", "v1", f"^{base}"))
        assert (done.hashes, done.new) == ((merge,), 3)
        known = log.commits.get(merge)
        assert known is not None
        assert known.parents == (git("rev-parse", "HEAD^1"), side)
        assert log.commits.leaves()[0].commit == merge
        assert {each.commit for each in log.commits.children(base)} == set(known.parents)
        assert log.commits.lineage(merge, 99)[0].commit == merge
        assert len(log.commits.lineage(merge, 99)) == 4


async def test_a_prerequisite_that_is_not_here_is_named(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    base = git.commit(FILES, "baseline")
    git.commit({"train.py": WIDER}, "wider")
    async with commit_log(tmp_path) as log:
        with pytest.raises(BadBundle, match=f"lacks these prerequisite commits: {base}"):
            await push_file(log, git.bundle("HEAD", f"^{base}"))
        assert hashes(await facts(log)) == []


async def test_a_head_that_changes_a_protected_file_is_kept_as_a_commit_and_not_proposed(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    head = git.commit({**FILES, "train.py": WIDER, "score.py": b"print('{}')\n"}, "cheat")
    async with commit_log(tmp_path) as log:
        done = await push_file(log, git.bundle("HEAD"), "eve")
        assert done.heads[0].refused == "score.py is protected, but changed; undo that, and change only train.py"
        found = await facts(log)
        assert hashes(found) == [head]
        assert proposals(found) == []


class Cut(MemoryBus):
    """The server goes away after some facts of a push."""

    left = 0

    async def post(self, post: Post, *, over: int = 0) -> int:
        if isinstance(post.event, CommitPushed | ProposalPosted) and post.author == "ann":
            self.left -= 1
            if self.left < 0:
                raise BusUnavailable("the server went away")
        return await super().post(post, over=over)


async def test_a_push_that_was_cut_off_anywhere_is_completed_by_saying_it_again(tmp_path: Path) -> None:
    git, told = Git(tmp_path / "work"), list[list[str]]()
    commits = [git.commit(FILES, "baseline"), git.commit({"train.py": WIDER}, "wider")]
    bundle = git.bundle("HEAD")
    for left in range(5):
        bus = Cut("a")
        bus.left = left
        async with commit_log(tmp_path / f"first-{left}", bus=bus) as log:
            try:
                await push_file(log, bundle)
            except BusUnavailable:
                told.append(hashes(await facts(log)))
        bus.left = 99
        async with commit_log(tmp_path / f"then-{left}", bus=bus) as log:
            done = await push_file(log, bundle)
            found = await facts(log)
            assert (done.hashes, hashes(found)) == ((commits[1],), commits)
            assert [proposal.title for proposal in proposals(found)] == ["as it is", "wider"]
            assert done.heads[0].proposal == proposals(found)[1].tree
    assert told == [[], commits[:1], commits, commits]


async def test_two_gateways_that_get_one_push_at_a_time_post_it_once(tmp_path: Path) -> None:
    bus, git = MemoryBus("a"), Git(tmp_path / "work")
    commits = [git.commit(FILES, "baseline")]
    commits += [git.commit({"train.py": TRAIN.replace(b"8", b"%d" % n)}, f"width {n}") for n in range(9, 15)]
    bundle = git.bundle("HEAD")
    async with commit_log(tmp_path / "one", bus=bus) as one, commit_log(tmp_path / "two", bus=bus) as two:
        async with anyio.create_task_group() as tasks:
            for log, name in ((one, "ann"), (two, "bob")):
                tasks.start_soon(push_file, log, bundle, name)
        found = await facts(one)
        assert hashes(found) == commits
        assert [proposal.title for proposal in proposals(found)] == ["as it is", "width 14"]


async def test_an_agent_fetches_the_champion_of_the_swarm_and_builds_on_it(tmp_path: Path) -> None:
    async with commit_log(tmp_path) as log:
        made = await propose(log.door, {"train.py": WIDER}, author="swarm", title="wider")
        champion = log.commits.of_proposal(made.proposal)
        with (tmp_path / "fetched.bundle").open("wb") as file:
            await fetch(log, log.commits.find(champion[:8]), file)
        git = Git(tmp_path / "work")
        git("bundle", "unbundle", "../fetched.bundle")
        git("checkout", "-q", champion)
        assert {path.name: path.read_bytes() for path in git.folder.iterdir() if path.is_file()} == {
            **FILES,
            "train.py": WIDER,
        }
        head = git.commit({"train.py": WIDEST}, "widest")
        done = await push_file(log, git.bundle("HEAD"))
        assert (done.new, done.hashes) == (1, (head,))
        posted = log.door.board.proposals[done.heads[0].proposal].event
        assert posted.parents == (made.proposal,)
        assert [each.commit for each in log.commits.leaves()] == [head]
        assert [each.commit for each in log.commits.children(champion)] == [head]
        assert log.commits.find(posted.commit[:7]).commit == head  # the pushed one stands for the proposal's own


async def test_equal_baselines_of_two_agents_are_two_commits_and_one_proposal(tmp_path: Path) -> None:
    ann, bob = Git(tmp_path / "ann"), Git(tmp_path / "bob")
    async with commit_log(tmp_path) as log:
        one, other = ann.commit(FILES, "baseline"), bob.commit(FILES, "my baseline")
        assert (await push_file(log, ann.bundle("HEAD"))).hashes == (one,)
        assert (await push_file(log, bob.bundle("HEAD"), "bob")).hashes == (other,)
        assert [each.commit for each in log.commits.newest(2)] == [other, one]
        assert [each.commit for each in log.commits.newest(9, author="bob")] == [other]
        assert proposals(await facts(log)) == []


async def test_the_difference_of_two_commits_is_what_git_says(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    one = git.commit({**FILES, "old.txt": b"gone\n", "raw.bin": b"\0\1"}, "baseline")
    git("rm", "-q", "old.txt")
    other = git.commit({"train.py": WIDER, "lib/new.py": b"A = 1\n", "raw.bin": b"\0\2"}, "change")
    async with commit_log(tmp_path) as log:
        await push_file(log, git.bundle("HEAD"))
        said = await commit_diff(log, log.commits.find(one), log.commits.find(other))
        assert said.strip() == git("diff", "--no-renames", one, other)
        git("checkout", "-q", one)
        git("apply", "--exclude=raw.bin", "-", stdin=said.encode())
        assert (git.folder / "train.py").read_bytes() == WIDER


async def test_an_octopus_in_a_bundle_of_version_3_is_taken_with_all_of_its_parents(tmp_path: Path) -> None:
    git = Git(tmp_path / "work")
    base, sides = git.commit(FILES, "baseline"), list[str]()
    for name in ("a", "b", "c"):
        git("checkout", "-q", "-b", name, base)
        sides.append(git.commit({f"{name}.txt": name.encode()}, name))
    git("checkout", "-q", "a")
    git("merge", "-q", "-m", "all", "b", "c")
    head, bundle = git("rev-parse", "HEAD"), tmp_path / "push.bundle"
    git("bundle", "create", "-q", "--version=3", str(bundle), "HEAD", "--branches")
    async with commit_log(tmp_path) as log:
        done = await push_file(log, bundle)
        assert (set(done.hashes), done.new) == ({head, *sides[1:], base}, 5)
        known = log.commits.get(head)
        assert known is not None
        assert known.parents == tuple(sides)
        assert [each.commit for each in log.commits.children(sides[2])] == [head]
        assert {each.commit for each in log.commits.lineage(head, 99)} == {head, *sides, base}
        with (tmp_path / "fetched.bundle").open("wb") as file:
            await fetch(log, known, file)
        other = Git(tmp_path / "other")
        other("fetch", "-q", "../fetched.bundle", "refs/tmp/*:refs/heads/*")
        assert other("rev-list", "--count", head) == "5"


async def test_what_a_killed_gateway_left_behind_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, new = tmp_path / "mesh-push-old", tmp_path / "mesh-push-new"
    for folder in (old, new):
        (folder / "objects").mkdir(parents=True)
    os.utime(old, (1, 1))
    git = Git(tmp_path / "work")
    git.commit(FILES, "baseline")
    async with commit_log(tmp_path) as log:
        await push_file(log, git.bundle("HEAD"))
    assert [path.name for path in tmp_path.glob("mesh-push-*")] == [new.name]


class Counted(MemoryBus):
    """A store that counts what it is given."""

    stored = 0

    async def put(self, name: str, data: bytes) -> None:
        self.stored += len(data)
        await super().put(name, data)


async def test_a_large_file_in_the_middle_of_a_history_is_stored_once(tmp_path: Path) -> None:
    bus, git = Counted("a"), Git(tmp_path / "work")
    git.commit(FILES, "baseline")
    large = git.commit({"data.bin": os.urandom(2 * 1024**2)}, "data")
    for number in range(20):
        git.commit({"notes.txt": b"%d\n" % number}, f"note {number}")
    head, bundle = git("rev-parse", "HEAD"), git.bundle("HEAD")
    async with commit_log(tmp_path, bus=bus) as log:
        await push_file(log, bundle)
        assert bus.stored < 3 * 1024**2
        found = [event for event in await facts(log) if isinstance(event, CommitPushed)]
        assert [event.base for event in found] == ["", "", *[large] * 20]
    async with commit_log(tmp_path / "new", bus=bus) as log:
        git.commit({"notes.txt": b"more\n"}, "more")
        assert (await push_file(log, git.bundle("HEAD", f"^{head}"))).new == 1
        assert bus.stored < 3 * 1024**2
        with (tmp_path / "fetched.bundle").open("wb") as file:
            await fetch(log, log.commits.find(git("rev-parse", "HEAD")), file)
        other = Git(tmp_path / "other")
        other("fetch", "-q", "../fetched.bundle", "refs/tmp/*:refs/heads/*")
        other("fsck", "--strict")
