"""Reads the model call that a fact names, with its prompt and answer, for `mesh show` and the page."""

from typing import Any

from mesh.bus import RecentObjects
from mesh.errors import ObjectMissing
from mesh.fact_values import KeptCall
from mesh.model_calls import KEPT_BYTES, ModelCall, unpack_call


async def call_data(objects: RecentObjects, seq: int, kept: KeptCall) -> dict[str, Any]:
    """Return a call as data for JSON; without `messages`, but with `missing`, if it is not kept any more.

    Args:
        objects: the store of the arena.
        seq: sequence of the fact that the call led to.
        kept: what that fact says of the call.
    """
    known = {"seq": seq, "prompt_bytes": kept.prompt_bytes, "answer_bytes": kept.answer_bytes}
    try:
        call = unpack_call(kept.sha256, await objects.kept(kept.sha256))
    except ObjectMissing as error:
        why = f"only the newest {KEPT_BYTES // 1024**2} MB of the calls of an arena are kept ({error})"
        return {**known, "missing": why}
    return {**known, **{name: getattr(call, name) for name in ModelCall.__struct_fields__}}
