"""A swarm of members: each process has the rights of its role alone, and a run is scored all the same."""

from contextlib import aclosing
from pathlib import Path

import anyio

from mesh.events import AgentJoined, ProposalPosted, RunFinished, RunStarted, Scored, WorkerJoined
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.member_hub import MemberHub, member_hub
from tests.support.swarm import swarm_of

MEMBERS = {"curator": "curator", "critic": "agent", "explorer": "agent", "worker": "worker"}


async def test_members_with_the_rights_of_their_roles_score_a_proposal(tmp_path: Path) -> None:
    with member_hub(tmp_path / "hub") as hub:
        async with connect(hub.url, credentials=hub.owner) as owner:
            await open_arena(owner, write_arena(tmp_path / "arena"), home=tmp_path / "home")
        async with swarm_of(tmp_path / "home", hub.url) as swarm:
            for name, role in MEMBERS.items():
                swarm.environ[name] = {"MESH_CREDENTIALS": str(hub.member(role, name, ["tiny"]))}
            swarm.commands["explorer"] = [word for word in swarm.commands["explorer"] if word not in ("--count", "3")]
            await swarm.start(*MEMBERS)
            with anyio.fail_after(200):
                posts = await posts_until_a_score(hub)
    joined = {post.author for post in posts if isinstance(post.event, AgentJoined | WorkerJoined)}
    assert joined == {*MEMBERS}
    assert {post.author for post in posts if isinstance(post.event, RunStarted | RunFinished)} == {"worker"}


async def posts_until_a_score(hub: MemberHub) -> list[Post]:
    """Follow the log as an observer until a proposal of the explorer has a score; return all posts so far."""
    posts: list[Post] = []
    async with (
        connect(hub.url, credentials=hub.member("observer", "eve", ["tiny"])) as member,
        aclosing((await member.arena("tiny")).read(follow=True)) as batches,
    ):
        async for batch in batches:
            posts += [entry.post for entry in batch if entry.post]
            events = [post.event for post in posts if post.author == "explorer"]
            theirs = {event.tree for event in events if isinstance(event, ProposalPosted)}
            ends = [post.event for post in posts if isinstance(post.event, RunFinished)]
            if any(isinstance(end.outcome, Scored) and end.proposal in theirs for end in ends):
                return posts
    raise AssertionError("the log has ended")
