"""A swarm of members: each process has the rights of its role alone, and a run is scored all the same."""

from contextlib import aclosing
from pathlib import Path

import anyio

from mesh.accounts.hub_folder import HubFolder
from mesh.accounts.rights import MemberRole
from mesh.events import AgentJoined, ProposalPosted, RunFinished, RunStarted, Scored, WorkerJoined
from mesh.jetstream import connect
from mesh.open_arena import open_arena
from mesh.wire import Post
from tests.support.arenas import write_arena
from tests.support.hub_of_members import member_creds, new_hub, server_of
from tests.support.swarm import swarm_of

MEMBERS: dict[str, MemberRole] = {"curator": "curator", "critic": "agent", "explorer": "agent", "worker": "worker"}


async def test_members_with_the_rights_of_their_roles_score_a_proposal(tmp_path: Path) -> None:
    hub = new_hub(tmp_path / "hub")
    with server_of(hub):
        async with connect(hub.own_url, credentials=hub.hub_creds) as owner:
            await open_arena(owner, write_arena(tmp_path / "arena"), home=tmp_path / "home")
        async with swarm_of(tmp_path / "home", hub.own_url) as swarm:
            for name, role in MEMBERS.items():
                swarm.environ[name] = {"MESH_CREDENTIALS": str(member_creds(hub, role, name, ["tiny"])[0])}
            swarm.commands["explorer"] = [word for word in swarm.commands["explorer"] if word not in ("--count", "3")]
            await swarm.start(*MEMBERS)
            with anyio.fail_after(500):
                posts = await posts_until_a_score(hub)
    joined = {post.author for post in posts if isinstance(post.event, AgentJoined | WorkerJoined)}
    assert joined == {*MEMBERS}
    assert {post.author for post in posts if isinstance(post.event, RunStarted | RunFinished)} == {"worker"}


async def posts_until_a_score(hub: HubFolder) -> list[Post]:
    """Follow the log as an observer until a proposal of the explorer has a score; return all posts so far."""
    posts: list[Post] = []
    async with (
        connect(hub.own_url, credentials=member_creds(hub, "observer", "eve", ["tiny"])[0]) as member,
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
