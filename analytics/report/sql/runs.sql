-- The finished runs in the order of the log; from the tables, because the view `runs` says more of each. Where there are many,
-- neighbours that are alike but for their numbers are one row: the first of them, with the sums of all. A run that was the
-- best so far always stands alone.
WITH finished AS (
    SELECT
        row_number() OVER (ORDER BY f.seq) AS number, count(*) OVER () AS every, f.seq, a.sign,
        CASE WHEN coalesce(nullif(f.evaluator, ''), r.evaluator) IN ('', a.evaluator) THEN f.value END AS value, r.lane,
        coalesce(f.reason, '') AS reason,
        r.proposal IN (SELECT proposal FROM champions WHERE arena = {arena}) AS kept,
        coalesce(f.worker_class, r.worker_class, '') AS worker_class,
        coalesce(f.trial_s, 0) + coalesce(f.score_s, 0) AS seconds, f.usd,
        coalesce(f.self_reported, false) AS self_reported, f.how = 'failed' AND f.reason <> 'killed' AS failed
    FROM internal.finished f
    JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
    JOIN arenas a ON a.arena = f.arena
    WHERE f.arena = {arena}
),
parts AS (
    SELECT
        *, CASE WHEN every <= {singly} THEN number ELSE number * {parts} // every END AS part,
        sign * value > max(sign * value) OVER (ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS is_best
    FROM finished
)
SELECT
    arg_min(seq, number), arg_min(value, number), lane, reason, kept, worker_class, sum(seconds ORDER BY number),
    sum(usd ORDER BY number), self_reported, failed, min(number), count(*)
FROM parts
GROUP BY
    part, lane, reason, kept, worker_class, self_reported, failed, value IS NULL, usd IS NULL,
    CASE WHEN is_best THEN number END
ORDER BY min(number);
