-- The finished runs in the order of the log, a page at a time; from the tables, because the view `runs` says more of each.
SELECT
    f.seq, CASE WHEN coalesce(nullif(f.evaluator, ''), r.evaluator) IN ('', a.evaluator) THEN f.value END, r.lane,
    coalesce(f.reason, ''), r.proposal IN (SELECT proposal FROM champions WHERE arena = {arena}),
    coalesce(f.worker_class, r.worker_class, ''), coalesce(f.trial_s, 0) + coalesce(f.score_s, 0), f.usd,
    coalesce(f.self_reported, false), f.how = 'failed' AND f.reason <> 'killed'
FROM internal.finished f
JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
JOIN arenas a ON a.arena = f.arena
WHERE f.arena = {arena} AND f.seq > {after}
ORDER BY f.seq
LIMIT {page};
