"""Keeping the table `scored`: every score that ranks, with the standing of its proposal in its worker class after it.

It is kept in the transaction that appends the facts. A new version of an arena that ranks by another rule (evaluator,
baseline, direction, proposals that it rules out) has the table written anew for that arena.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

import duckdb
import msgspec

from analytics.bloom_filter import BloomFilter
from mesh.standing import Rule, Standing

_PIECE = 20_000
"""Sequences whose scores are in memory at once."""
_RULE = """
SELECT coalesce(version, 0), seq, evaluator, base_tree, sign, exact, baseline, ruled_out
FROM internal.opened
WHERE arena = ?"""
_RULED_OUT = """
SELECT p.proposal
FROM internal.proposed p
WHERE p.arena = $arena AND p.proposal <> $baseline AND EXISTS (
    SELECT 1 FROM internal.criticised c
    WHERE c.arena = p.arena AND c.target = p.proposal AND c.ruling IS NOT NULL AND c.seq > greatest(p.seq, $opened))
UNION
SELECT proposal FROM internal.proposed
WHERE arena = $arena AND seq < $opened AND proposal IN (SELECT unnest($listed::VARCHAR[]))"""
_NEW = """
SELECT f.seq, f.time, f.run, r.proposal, r.lane, r.seed, f.value, f.worker_class, f.trial_s, f.self_reported, r.seq,
    coalesce(f.budget_used_s, 0), coalesce(f.margin, 0)
FROM internal.finished f
JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
WHERE f.arena = ? AND f.seq BETWEEN ? AND ? AND f.value IS NOT NULL AND r.lane <> 'sealed' AND r.audit IS NULL
    AND r.seq >= ?
    AND coalesce(nullif(f.evaluator, ''), r.evaluator) IN ('', ?)
    AND r.proposal NOT IN (SELECT unnest(?::VARCHAR[]))
ORDER BY f.seq"""
_LATEST = """
SELECT proposal, worker_class, seq, scores, least, greatest, seconds, any_self_reported, proven_count, proven_mean,
    squares_added, claimed_count, claimed_sum, used_s, margin_sum
FROM internal.scored
WHERE arena = ? AND proposal IN (SELECT unnest(?::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY proposal, worker_class ORDER BY seq DESC) = 1"""
_POSTED = """
SELECT proposal, min(seq)
FROM internal.proposed
WHERE arena = ? AND proposal IN (SELECT unnest(?::VARCHAR[]))
GROUP BY proposal"""
_BEST = "SELECT max(best) FROM internal.scored WHERE arena = ?"
_KEPT = 5000
"""Proposals whose standings are kept in memory: those with the latest scores."""
_KEPT_POSTED = 50_000
"""Proposals of which is kept in memory when they were posted: those that were posted, or asked about, last."""

SCORED = "SELECT DISTINCT arena, 'scored', proposal, '' FROM internal.scored"
"""The keys by which the filter of `Standings` knows the proposals with a score."""


class Standings:
    """The standings of the proposals of an arena as of the last score, for as long as every write succeeds.

    Those of the latest proposals are in memory, so that a batch need not search all scores. `seen` tells which others
    have none.
    """

    def __init__(self, arena: str, seen: BloomFilter) -> None:
        self.arena = arena
        self.best: float | None = None
        self._seen = seen
        self._is_read = False
        self._latest: dict[str, dict[str, tuple[int, Standing]]] = {}
        self._posted: dict[str, int] = {}

    def forget(self) -> None:
        """Forget what is kept: other scores are in the file now."""
        self.best, self._is_read = None, False
        self._latest.clear()

    def note_posted(self, posted: Mapping[str, int]) -> None:
        """Note proposals that were posted, by the sequence of each, so that nobody need search the table for them."""
        self._posted |= posted
        for proposal in [*islice(self._posted, max(0, len(self._posted) - _KEPT_POSTED))]:
            del self._posted[proposal]

    def posted(self, db: duckdb.DuckDBPyConnection, proposals: Iterable[str]) -> dict[str, int]:
        """Return when proposals were posted, as sequences; those that nobody has posted are left out."""
        found = {proposal: self._posted.get(proposal) for proposal in proposals}
        if asked := [proposal for proposal, seq in found.items() if seq is None]:
            self.note_posted(read := dict(db.execute(_POSTED, [self.arena, asked]).fetchall()))
            found |= read
        return {proposal: seq for proposal, seq in found.items() if seq is not None}

    def of(self, db: duckdb.DuckDBPyConnection, proposals: Iterable[str]) -> dict[str, dict[str, tuple[int, Standing]]]:
        """Return the standings of proposals by worker class, each with the sequence of its last score.

        What is added to them is kept. Then `best` is the best score so far, with the sign that makes greater better.
        """
        found = {proposal: self._latest.pop(proposal, None) for proposal in proposals}
        keys = [(self.arena, "scored", proposal, "") for proposal, known in found.items() if known is None]
        asked = [proposal for _, _, proposal, _ in self._seen.add(keys)]
        self._latest |= {proposal: known or {} for proposal, known in found.items()}
        for proposal, worker_class, seq, *row in db.execute(_LATEST, [self.arena, asked]).fetchall() if asked else ():
            self._latest[proposal][worker_class] = seq, Standing(*row)
        kept = {proposal: self._latest[proposal] for proposal in found}
        while len(self._latest) > _KEPT:
            del self._latest[next(iter(self._latest))]
        if not self._is_read:
            [(self.best,)] = db.execute(_BEST, [self.arena]).fetchall()
            self._is_read = True
        return kept


def rule_of(db: duckdb.DuckDBPyConnection, arena: str) -> Rule | None:
    """Return the rule in force by what is in the tables; None where the arena was never opened."""
    found = db.execute(_RULE, [arena]).fetchall()  # few: finding the latest here is cheaper than a plan that sorts
    if not found:
        return None
    _, seq, evaluator, base_tree, sign, exact, baseline, listed = max(found, key=lambda row: row[:2])
    asked = {"arena": arena, "baseline": baseline, "opened": seq, "listed": listed or []}
    ruled_out = frozenset(tree for (tree,) in db.execute(_RULED_OUT, asked).fetchall())
    return Rule(evaluator, base_tree, sign, exact, ruled_out=ruled_out)


def keep_scores(
    db: duckdb.DuckDBPyConnection,
    kept: Standings,
    since: int,
    until: int,
    *,
    asked_since: int,
    before: Rule | None,
    rule: Rule | None,
) -> None:
    """Add the scores of the sequences `since` to `until`, the last; all anew where `rule` was another before.

    Their runs were requested from sequence `asked_since` on: the requests before it need not be searched.
    """
    if rule is None:
        return
    if rule != before:
        db.execute("DELETE FROM internal.scored WHERE arena = ?", [kept.arena])
        kept.forget()
        since, asked_since = 1, 0
    for start in range(since, until + 1, _PIECE):
        end = min(start + _PIECE - 1, until)
        asked = [kept.arena, start, end, asked_since, rule.evaluator, list(rule.ruled_out)]
        found = db.execute(_NEW, asked).fetchall()
        posted = kept.posted(db, dict.fromkeys(score[3] for score in found))
        if counted := [score for score in found if posted.get(score[3], score[10]) < score[10]]:
            _add(db, kept, rule, counted)


def _add(db: duckdb.DuckDBPyConnection, kept: Standings, rule: Rule, found: list[tuple]) -> None:  # type: ignore[type-arg]
    standings, rows = kept.of(db, dict.fromkeys(score[3] for score in found)), []
    best = kept.best
    for score in found:
        seq, time, run, proposal, lane, seed, value, worker_class, trial_s, self_reported, asked_seq, used_s, own = (
            score
        )
        previous, standing = standings[proposal].get(worker_class, (None, Standing()))
        fresh = rule.is_fresh(proposal, lane)
        more = {"seconds": trial_s, "used_s": used_s, "margin": own}
        standing = standing.add(value, fresh=fresh, self_reported=self_reported, **more)
        standings[proposal][worker_class] = seq, standing
        before, best = best, rule.sign * value if best is None else max(best, rule.sign * value)
        head = (kept.arena, seq, time, run, proposal, lane, seed, value, worker_class, trial_s, self_reported)
        rows.append((*head, asked_seq, rule.sign, fresh, previous, *msgspec.structs.astuple(standing), before, best))
    with db.appender("internal.scored") as appender:
        appender.append_rows(rows)
    kept.best = best
