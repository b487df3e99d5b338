-- The latest runs that a worker executed, by their requests, and those that it has not finished.
SELECT run FROM (
    SELECT r.run
    FROM internal.finished f
    JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run
    WHERE f.arena = {arena} AND f.worker IN {boots}
    ORDER BY r.seq DESC
    LIMIT {count})
UNION ALL
SELECT run FROM internal.requested ANTI JOIN internal.finished USING (arena, run) WHERE arena = {arena}
