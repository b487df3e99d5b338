"""The fact of pushed code: git commits that agents of others bring through a gateway (`gateway.push`)."""

from typing import Annotated

from msgspec import Meta

from mesh import bounds as b
from mesh.fact import Event


class CommitPushed(Event, frozen=True, kw_only=True, tag="commit.pushed"):
    """Somebody has pushed a git commit, whose objects stand beside the log; its parents were posted before it.

    `proposal` is the id that its editable files have as a proposal, whether anybody has proposed them or not. `base` is
    the commit whose objects its pack leaves out.
    """

    commit: b.GitHash
    tree: b.GitHash
    parents: Annotated[tuple[b.GitHash, ...], Meta(max_length=b.MAX_ITEMS)] = ()
    message: b.Text = ""
    at: b.Count = 0
    bytes: b.Quantity = 0
    proposal: b.OptionalTree = ""
    base: b.OptionalTree = ""

    def key(self, post_id: str) -> str:
        return self.commit
