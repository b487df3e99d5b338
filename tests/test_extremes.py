"""Extreme values of every field of every fact, as a hostile client posts them: nobody ends, and all go on.

What is out of its bounds is not understood. What is understood can be folded, saved, ranked, decided on and shown.
"""

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from agents.curation.admission import decide
from agents.search.turns import share
from analytics.json_values import plain
from analytics.projection import Projection, view_sources
from analytics.web.log_entry import entry_json
from gateway.resolve import find
from mesh import wire
from mesh.board import Board
from mesh.board_bytes import from_bytes, to_bytes
from mesh.bounds import MAX_INTEGER
from mesh.events import KINDS
from mesh.leaderboard import Ranking
from mesh.proposal_numbers import gain_over_parents
from mesh.wire import Entry, entry_row
from mesh_cli.board.lines import Lines
from mesh_cli.history.results_tsv import tsv_lines
from mesh_cli.live.status import slots_of, standing_of
from mesh_cli.proposals import card, describe, lineage
from mesh_cli.render.colour import Ink
from tests.support.extremes import events, post_of
from tests.support.history import RICH_HISTORY, entries

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@cache
def odd_log() -> tuple[Entry, ...]:
    """A log of a swarm at work, and after it every extreme fact."""
    begin = entries(RICH_HISTORY)
    raw = (post_of(kind, fields, number) for number, (kind, fields) in enumerate(events()))
    later = (wire.entry(seq, NOW, subject, data) for seq, (subject, data) in enumerate(raw, len(begin) + 1))
    return (*begin, *later)


def understood() -> Iterator[tuple[bytes, list[Entry]]]:
    """Yield a board at work, as bytes, and the facts of one extreme value: an understood one after what it needs."""
    count = len(RICH_HISTORY)
    board = Board(arena="a")
    for entry in odd_log()[:count]:
        board.fold(entry)
    begin, needed = to_bytes(board), list[Entry]()
    for entry in odd_log()[count:]:
        needed.append(entry)
        if entry.post and len(entry.raw) > 100:
            yield begin, needed[-3:]


def test_every_kind_has_extreme_values_that_are_understood_and_some_that_are_not() -> None:
    log = odd_log()[len(RICH_HISTORY) :]
    known = Counter(entry.subject.kind for entry in log if entry.post)
    unknown = Counter(entry.subject.kind for entry in log if not entry.post)
    assert known.keys() == unknown.keys() == KINDS.keys()
    assert min(known.values()) > 10
    assert len(log) > 10_000


def test_what_is_understood_fits_every_reader_and_what_is_written_is_understood() -> None:
    for entry in odd_log():
        if entry.post is None:
            continue
        assert wire.decode(f"mesh.a.{entry.post.kind}.{entry.post.key}.{entry.post.author}", wire.encode(entry.post))
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry.post), type=wire.Post) == entry.post
        for number in _numbers(msgspec.to_builtins(entry.post.event)):
            assert abs(number) <= (MAX_INTEGER + 1 if isinstance(number, int) else 1e100)


def _numbers(value: Any) -> Iterator[int | float]:
    match value:
        case bool() | str() | None:
            return
        case dict():
            for inner in value.values():
                yield from _numbers(inner)
        case list() | tuple():
            for inner in value:
                yield from _numbers(inner)
        case _:
            yield value


def test_the_whole_log_folds_to_a_board_that_can_be_saved() -> None:
    board = Board(arena="a")
    for entry in odd_log():
        board.fold(entry)
    assert from_bytes(to_bytes(board)) == board
    assert board.unknown == sum(entry.post is None for entry in odd_log())


def test_whoever_reads_the_board_lives_on_after_each_extreme_fact() -> None:
    lines = Lines(Ink(on=False), screen=True)
    for begin, facts in understood():
        board = from_bytes(begin)
        assert board is not None
        for entry in facts:
            if entry.seq > board.seq:
                board.fold(entry)
        last = facts[-1]
        _read(board, lines, last)


def _read(board: Board, lines: Lines, last: Entry) -> None:
    ranking = Ranking(board)
    ranking.rows()
    decide(board, NOW)
    share(board)
    tsv_lines(board)
    slots_of(board, [*board.workers])
    standing_of(board, [*board.workers, *board.agents])
    line = lines.line(last)
    assert "\n" not in line
    assert line.isprintable()
    json.dumps(entry_json(last, board), allow_nan=False)
    msgspec.json.encode(entry_row(last))
    for tree in [*board.proposals][-2:]:
        card.card(board, describe.about(board, find(board, tree)[0]))
        lineage.line(ranking, tree)
        gain_over_parents(ranking, tree)
    for run in [*board.runs][-2:]:
        card.card(board, describe.about(board, find(board, f"run:{run}")[0]))


def _views(projection: Projection) -> dict[str, list[str]]:
    """Return the rows of every view, as JSON has them, in an order of their own."""
    with projection.cursor() as db:
        found = {name: db.execute(f"FROM {name}").fetchall() for name, _ in view_sources()}
    return {
        name: sorted(json.dumps([plain(v) for v in row], allow_nan=False) for row in rows)
        for name, rows in found.items()
    }


def test_the_projection_takes_every_extreme_fact_and_every_view_can_be_read(tmp_path: Path) -> None:
    log = odd_log()
    found = []
    for name, size in (("whole", len(log)), ("pieces", 1500)):
        projection = Projection.open(tmp_path / f"{name}.duckdb")
        projection.checkpoint("a", "log", 0)
        for start in range(0, len(log), size):
            projection.append("a", "log", log[start : start + size])
        found.append(_views(projection))
        projection.close()
    whole, pieces = found
    assert whole == pieces
    assert len(whole["events"]) == len(log)
