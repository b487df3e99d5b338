-- How many steps the newest scored runs of each class made: the last point of their curves; null where none has a curve.
WITH last_runs AS (
    SELECT r.worker_class, r.finished_seq
    FROM runs r
    WHERE r.arena = {arena} AND r.state = 'scored'
    QUALIFY row_number() OVER (PARTITION BY r.worker_class ORDER BY r.finished_seq DESC) <= 200
)
SELECT l.worker_class, median(try_cast(f.body->>'$.curve[#-1][0]' AS DOUBLE))
FROM last_runs l
JOIN internal.facts f ON f.arena = {arena} AND f.seq = l.finished_seq
GROUP BY l.worker_class
ORDER BY l.worker_class;
