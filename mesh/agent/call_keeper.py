"""Keeps the calls of models that a role makes, as objects beside the log."""

import sys

from mesh.bus import RecentObjects
from mesh.errors import BusRefused
from mesh.fact_values import KeptCall
from mesh.model_calls import ModelCall, pack_call


class CallKeeper:
    """Keeps calls, for roles that ask models; `Context.calls` is one."""

    def __init__(self, objects: RecentObjects) -> None:
        self._objects = objects
        self._refused = ""

    async def keep(self, call: ModelCall) -> KeptCall | None:
        """Keep a call, and return what the fact that it leads to says of it; None if the server stores no calls.

        Raises:
            BusUnavailable: the server does not answer.
        """
        kept, data = pack_call(call)
        try:
            await self._objects.keep(kept.sha256, data)
        except BusRefused as error:
            if str(error) != self._refused:
                self._refused = str(error)
                print(f"the prompt and the answer of a model are not kept: {error}", file=sys.stderr)
            return None
        return kept
