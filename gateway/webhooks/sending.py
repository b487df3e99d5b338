"""Sends what happens in the arenas of a gateway to its webhooks."""

from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Protocol

from gateway.door import Door
from gateway.webhooks.delivery import HookDelivery, run_hooks
from gateway.webhooks.hooks_file import Hook, is_for


class Followed(Protocol):
    """An arena whose door is kept current; `is_new` says that it was opened while the gateway ran."""

    door: Door
    is_new: bool


def sends_to(
    hooks: Sequence[Hook], folder: Path, say: Callable[[str], None], *, private: bool
) -> Callable[[Followed], Coroutine[Any, Any, None]]:
    """Return what sends the facts of one arena to those hooks that want them, until it is cancelled.

    Args:
        hooks: The hooks.
        folder: Where cursors are kept.
        say: Told what goes wrong, in one line.
        private: Whether hooks may reach addresses that are not public.
    """
    folder.mkdir(parents=True, exist_ok=True)

    async def send(arena: Followed) -> None:
        door = arena.door
        wanted = [hook for hook in hooks if is_for(hook, door.bus.arena)]
        await run_hooks(
            [
                HookDelivery(each, door.bus, door.follower, folder, say, private=private, whole=arena.is_new)
                for each in wanted
            ]
        )

    return send
