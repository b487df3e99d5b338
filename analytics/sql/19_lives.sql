-- One row per life of a worker that joined, with when it ended: when it said that it leaves, else at its last sign of life:
-- a run that it began or ended, or the next attempt of such a run, which waits for the end of its lease. A life is `gone`
-- when it has left, somebody found it silent, or another life of its name joined.
CREATE OR REPLACE VIEW internal.lives AS
WITH joined AS (
    SELECT
        j.arena, j.key AS boot, j.seq, j.time, j.author AS worker, j.body->>'$.worker_class' AS worker_class,
        greatest(1, try_cast(j.body->>'$.slots' AS BIGINT)) AS slots,
        try_cast(j.body->>'$.price_per_hour_usd' AS DOUBLE) AS price_per_hour_usd,
        nullif(j.body->>'$.provider', '') AS provider, coalesce(try_cast(j.body->>'$.spot' AS BOOLEAN), false) AS spot,
        least(l.seq, lead(j.seq) OVER (PARTITION BY j.arena, j.author ORDER BY j.seq)) AS end_seq,
        CASE WHEN NOT coalesce(try_cast(l.body->>'$.silent' AS BOOLEAN), false) THEN l.seq END AS left_seq, l.time AS left_at
    FROM internal.facts j
    LEFT JOIN internal.facts l ON l.kind = 'worker.left' AND l.arena = j.arena AND l.key = j.key AND l.seq > j.seq
    WHERE j.kind = 'worker.joined'
),
starts AS (
    SELECT
        arena, worker AS boot, seq, time, lead(seq) OVER of_run AS next_seq, lead(time) OVER of_run AS next_at
    FROM internal.started
    WINDOW of_run AS (PARTITION BY arena, run ORDER BY seq)
),
signs AS (
    SELECT arena, boot, seq, time FROM starts
    UNION ALL
    SELECT arena, boot, next_seq, next_at FROM starts WHERE next_seq IS NOT NULL
    UNION ALL
    SELECT arena, worker, seq, time FROM internal.finished
),
last_signs AS (
    SELECT j.arena, j.boot, max(s.time) AS time
    FROM joined j
    JOIN signs s ON s.arena = j.arena AND s.boot = j.boot AND s.seq > j.seq AND s.seq < coalesce(j.end_seq, 9223372036854775807)
    GROUP BY ALL
)
SELECT
    j.arena, j.boot, j.seq, j.time AS joined_at, j.worker, j.worker_class, j.slots, j.price_per_hour_usd, j.provider, j.spot,
    CASE WHEN j.left_seq = j.end_seq THEN j.left_at ELSE coalesce(s.time, j.time) END AS ended_at, j.end_seq IS NOT NULL AS gone
FROM joined j
LEFT JOIN last_signs s ON s.arena = j.arena AND s.boot = j.boot;
