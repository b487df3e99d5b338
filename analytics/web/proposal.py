"""One proposal in full: rationale, changed code, runs, curves and critiques; and the model call that it comes from."""

import difflib
from typing import Any

import msgspec
from anyio.to_thread import run_sync

from analytics.web.view_cache import State
from mesh.board import Board, Critique, Run
from mesh.bus import RecentObjects
from mesh.code import CodeStore
from mesh.errors import MeshError, UnknownName
from mesh.events import CurvePoint
from mesh.kept_calls import call_data
from mesh.proposal_card import RunRow, card_of

_MANY = 100
"""Runs, critiques and children that are shown."""
_CURVES, _POINTS = 12, 300
"""Curves that are shown, and points of each."""
_TEXT = 20_000
_CALL_TEXT = 60_000
"""Characters of a message of a model call that are shown; `mesh show` has them all."""
_MAX_FILE_BYTES = 300_000
MAX_DIFF_LINES = 3000


async def proposal_page(board: Board, code: CodeStore, state: State, tree: str) -> dict[str, Any]:
    """Return what the page shows of a proposal.

    Raises:
        UnknownName: the arena has no such proposal.
    """
    proposal = board.proposals.get(tree)
    if proposal is None or board.opened is None:
        raise UnknownName(f"arena {board.arena} has no proposal {tree[:60]!r}")
    row = next((row for row in state.standing.records() if row["proposal"] == tree), None)
    card = card_of(board, tree, rank=row["rank"] if row else None)
    runs = [board.runs[name] for name in proposal.runs]
    curves = [run for run in reversed(runs) if run.finished and run.finished.curve]
    return {
        **msgspec.to_builtins(card),
        "time": card.time.timestamp(),
        "rationale": card.rationale[:_TEXT],
        "standing": row,
        "knobs": msgspec.to_builtins(card.knobs[:_MANY]),
        "children": msgspec.to_builtins(card.children[:_MANY]),
        "critiques": [_critique(critique) for critique in card.critiques[:_MANY]],
        "runs": [_run(known, board.runs[known.run]) for known in card.runs[-_MANY:]],
        "curves": [
            {"run": run.requested.run, "lane": run.requested.lane, "points": _thinned(run.finished.curve)}
            for run in curves[:_CURVES]
            if run.finished
        ],
        "call": _call_sizes(board, tree),
        "diffs": [await _diff(board, code, parent.proposal, tree) for parent in card.parents],
    }


async def call_page(board: Board, objects: RecentObjects, tree: str) -> dict[str, Any]:
    """Return the model call that a proposal comes from, as `call_data`; long texts are cut at their end.

    Raises:
        UnknownName: the arena has no such proposal, or no model call of it was kept.
    """
    proposal = board.proposals.get(tree)
    if proposal is None or proposal.event.call is None:
        raise UnknownName(f"arena {board.arena} keeps no model call of a proposal {tree[:60]!r}")
    call = await call_data(objects, proposal.seq, proposal.event.call)
    if "missing" in call:
        return call
    messages = [
        {"role": message.get("role", ""), **_cut(message.get("content", ""))} for message in call["messages"][:_MANY]
    ]
    texts = {name: _cut(call[name]) for name in ("answer", "thoughts", "trouble")}
    return {**call, "messages": messages, **texts}


def _cut(text: str) -> dict[str, Any]:
    """Return the start of a text, and how many characters of it are left out."""
    return {"text": text[:_CALL_TEXT], "left_out": max(0, len(text) - _CALL_TEXT)}


def _call_sizes(board: Board, tree: str) -> dict[str, int] | None:
    call = board.proposals[tree].event.call
    return {"prompt_bytes": call.prompt_bytes, "answer_bytes": call.answer_bytes} if call else None


def _critique(critique: Critique) -> dict[str, Any]:
    return {**msgspec.to_builtins(critique), "text": critique.text[:_TEXT]}


def _run(row: RunRow, run: Run) -> dict[str, Any]:
    """Return a run with the end of its output where it failed; the seed is text, as JavaScript is exact up to 2^53."""
    log = run.finished.log_tail[-_TEXT:] if run.finished and row.message else ""
    critiques = [_critique(critique) for critique in run.critiques[:_MANY]]
    more = {"seed": str(row.seed), "message": row.message[:_TEXT], "log": log, "critiques": critiques}
    return {**msgspec.to_builtins(row), **more}


def _thinned(curve: tuple[CurvePoint, ...]) -> list[tuple[float, float]]:
    """Return (step, value) of at most `_POINTS` points, evenly, the last one among them."""
    every = -(-len(curve) // _POINTS)
    return [(point.step, point.value) for point in curve[(len(curve) - 1) % every :: every]]


async def _diff(board: Board, code: CodeStore, parent: str, tree: str) -> dict[str, Any]:
    """Return the diff from a parent to a proposal, or one sentence why there is none."""
    base = board.opened.base_commit if board.opened else ""
    found: dict[str, Any] = {"parent": parent, "lines": [], "trouble": ""}
    try:
        if parent not in board.proposals:
            raise UnknownName("the parent is not a proposal of this arena")
        old = await code.files(board.proposals[parent].event.commit, base=base)
        new = await code.files(board.proposals[tree].event.commit, base=base)
    except MeshError as error:
        return found | {"trouble": str(error)}
    lines = await run_sync(diff_lines, old, new)
    return found | {"lines": lines[:MAX_DIFF_LINES], "cut": len(lines) > MAX_DIFF_LINES}


def diff_lines(old: dict[str, bytes], new: dict[str, bytes]) -> list[str]:
    """Return a unified diff of two sets of files; large and binary files are named and not compared."""
    lines: list[str] = []
    for path in sorted(old.keys() | new.keys()):
        before, after = old.get(path, b""), new.get(path, b"")
        if before == after:
            continue
        names = (f"a/{path}" if path in old else "/dev/null", f"b/{path}" if path in new else "/dev/null")
        if max(len(before), len(after)) > _MAX_FILE_BYTES or b"\0" in before + after:
            lines += [f"--- {names[0]}", f"+++ {names[1]}", "  (not compared: a large or binary file)"]
            continue
        old_lines, new_lines = (data.decode("utf-8", "replace").splitlines() for data in (before, after))
        lines += difflib.unified_diff(old_lines, new_lines, *names, lineterm="")
    return lines
