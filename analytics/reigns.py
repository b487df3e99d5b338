"""Keeping the tables `ruled` and `reigned`: which proposals are ruled out from when to when, and who was champion.

They are kept in the transaction that appends the facts, so that no query must go through all promotions to know the
champion. A promotion counts only if it met the champion at that point of the log ("" at first), and if the version in
force does not rule out the proposal. A version that rules out the champion ends its reign, and so does a critic
(`mesh/ruling_out.py`): then the next promotion meets "".
"""

import datetime as dt
from collections.abc import Iterable

import duckdb

FOREVER = 2**63 - 1
"""Stands for the end of what has not ended."""

_RULED = f"""
INSERT INTO internal.ruled
WITH versions AS (
    SELECT seq, time, baseline, ruled_out, rulings, lead(seq, 1, {FOREVER}) OVER (ORDER BY seq) AS until_seq
    FROM internal.opened o
    WHERE arena = $arena AND NOT EXISTS (
        SELECT 1 FROM internal.opened b
        WHERE b.arena = $arena AND b.seq < o.seq AND coalesce(b.version, 0) >= coalesce(o.version, 0))
),
listed AS (
    SELECT seq, time, until_seq, unnest(ruled_out) AS proposal, unnest(rulings) AS text FROM versions
    UNION ALL
    SELECT c.seq, c.time, v.until_seq, c.target, c.ruling
    FROM internal.criticised c
    JOIN versions v ON v.seq < c.seq AND c.seq < v.until_seq AND c.target <> v.baseline
    WHERE c.arena = $arena AND c.ruling IS NOT NULL
)
SELECT $arena, l.proposal, min(l.seq), arg_min(l.time, l.seq), l.until_seq, arg_min(l.text, l.seq)
FROM listed l
JOIN internal.proposed p ON p.arena = $arena AND p.proposal = l.proposal AND p.seq < l.seq
GROUP BY l.proposal, l.until_seq"""  # noqa: S608 a number of our own
_ENDS = "SELECT seq, time, '', proposal FROM internal.ruled WHERE arena = ? AND seq >= ?"
_CAN_REIGN = """
SELECT seq, time, proposal, met FROM internal.judged j
WHERE arena = $arena AND seq >= $since AND verdict = 'promoted' AND proposal <> met
    AND EXISTS (SELECT 1 FROM internal.proposed p WHERE p.arena = j.arena AND p.proposal = j.proposal AND p.seq < j.seq)
    AND NOT EXISTS (
        SELECT 1 FROM internal.ruled r
        WHERE r.arena = j.arena AND r.proposal = j.proposal AND r.seq < j.seq AND j.seq < r.until_seq)"""
_LAST = "SELECT reign, proposal, seq, reigns FROM internal.reigned WHERE arena = ? ORDER BY reign DESC LIMIT 1"
_END = "UPDATE internal.reigned SET until = ?, until_seq = ?, reigns = false WHERE arena = ? AND reign = ?"

_Move = tuple[int, dt.datetime, str, str]
"""Sequence, time, who is champion then ("" for nobody), and who has to be champion before."""


def keep_reigns(db: duckdb.DuckDBPyConnection, arena: str, since: int, *, ruled_out: bool, promoted: bool) -> None:
    """Add what the facts from sequence `since` on, which are in the tables, make of the champions.

    Args:
        db: The projection, in a transaction.
        arena: The arena.
        since: The first of the facts.
        ruled_out: Whether versions or rulings of critics are among them.
        promoted: Whether promotions are among them.
    """
    moves: list[_Move] = []
    if ruled_out:
        db.execute("DELETE FROM internal.ruled WHERE arena = ?", [arena])
        db.execute(_RULED, {"arena": arena})
        moves += db.execute(_ENDS, [arena, since]).fetchall()
    if promoted:
        moves += db.execute(_CAN_REIGN, {"arena": arena, "since": since}).fetchall()
    if moves:
        _add(db, arena, sorted(moves, key=lambda move: move[0]))


def _add(db: duckdb.DuckDBPyConnection, arena: str, moves: Iterable[_Move]) -> None:
    found = db.execute(_LAST, [arena]).fetchone()
    count, champion, crowned_seq, reigns = found or (0, "", 0, False)
    champion = champion if reigns else ""
    for seq, time, proposal, met in moves:
        if met != champion or seq <= crowned_seq:
            continue
        if champion:
            db.execute(_END, [time, seq, arena, count])
        if proposal:
            count += 1
            row = [arena, count, proposal, met, seq, time, None, True, None]
            db.execute("INSERT INTO internal.reigned VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        champion, crowned_seq = proposal, seq
