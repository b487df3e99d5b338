"""What every fact is: a frozen struct with a tag, and a key of its own. The facts are in `mesh.events`."""

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", gc=False):
    """A fact; each subclass defines its tag and the fields that form its key."""

    one_per_author: ClassVar[bool] = False
    key_tokens: ClassVar[int] = 1

    def key(self, post_id: str) -> str:
        """Return the subject tokens that make this fact unique in its arena.

        Args:
            post_id: id of the post, which is the key of facts that may repeat.
        """
        raise TypeError(f"{type(self).__name__} has no key")
