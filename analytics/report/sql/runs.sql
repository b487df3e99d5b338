-- The finished runs in the order of the log, a page at a time.
SELECT
    r.finished_seq, CASE WHEN r.evaluator IN ('', a.evaluator) THEN r.value END, r.lane, coalesce(r.reason, ''),
    r.proposal IN (SELECT proposal FROM champions WHERE arena = {arena}), coalesce(r.worker_class, ''),
    coalesce(r.trial_s, 0) + coalesce(r.score_s, 0), r.usd, r.self_reported, r.state = 'failed'
FROM runs r
JOIN arenas a USING (arena)
WHERE r.arena = {arena} AND r.finished_seq > {after}
ORDER BY r.finished_seq
LIMIT {page};
