-- The first number that the evaluator in force gave: what failed before it is no evidence. The first score that ranks is
-- one, so that nothing after it needs to be looked at.
SELECT min(f.seq) AS seq
FROM internal.finished f
JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run
WHERE f.arena = {arena} AND f.how IN ('scored', 'infeasible', 'screened_out')
    AND f.seq <= coalesce((SELECT min(seq) FROM internal.scored WHERE arena = {arena}), 9223372036854775807)
    AND coalesce(nullif(f.evaluator, ''), r.evaluator) IN (
        '', (SELECT arg_max(evaluator, coalesce(version, 0)) FROM internal.opened WHERE arena = {arena}))
