-- The time of workers, in seconds of one slot, and what it costs: `run` from the lease of a run to its end, `lost` from an
-- attempt that did not end its run to the next attempt, to the end of the run or of the life, and `idle` for the rest of a
-- life. A run that names no life of a worker has the cost that its fact says.
CREATE OR REPLACE VIEW internal.slot_time AS
WITH lives AS MATERIALIZED (SELECT * FROM internal.lives),
ended AS MATERIALIZED (
    SELECT
        f.arena, f.seq, f.run, f.worker AS boot, f.time, f.how, f.usd, coalesce(f.slot_s, f.trial_s + f.score_s, 0) AS seconds
    FROM internal.finished f
    JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
),
attempts AS (
    SELECT
        s.arena, s.run, s.seq, s.time, s.worker AS boot,
        lead(s.time) OVER (PARTITION BY s.arena, s.run ORDER BY s.seq) AS next_at,
        coalesce(e.boot = s.worker AND s.seq = max(s.seq) OVER (PARTITION BY s.arena, s.run, s.worker), false) AS ends_it,
        e.time AS run_ended_at
    FROM internal.started s
    JOIN internal.requested r ON r.arena = s.arena AND r.run = s.run AND r.seq < s.seq
    LEFT JOIN ended e ON e.arena = s.arena AND e.run = s.run
    WHERE e.seq IS NULL OR s.seq < e.seq
),
lost AS MATERIALIZED (
    SELECT
        a.arena, a.seq, a.run, a.boot, greatest(0, epoch(least(a.next_at, a.run_ended_at, l.ended_at) - a.time)) AS seconds
    FROM attempts a
    JOIN lives l ON l.arena = a.arena AND l.boot = a.boot
    WHERE NOT a.ends_it AND (a.next_at IS NOT NULL OR a.run_ended_at IS NOT NULL OR l.gone)
),
taken AS (
    SELECT arena, boot, sum(seconds ORDER BY seq) AS seconds
    FROM (SELECT arena, boot, seq, seconds FROM ended UNION ALL SELECT arena, boot, seq, seconds FROM lost)
    GROUP BY ALL
),
rest AS (
    SELECT
        l.arena, l.seq, l.boot,
        greatest(0, l.slots * epoch(l.ended_at - l.joined_at) - coalesce(t.seconds, 0)) AS seconds
    FROM lives l
    LEFT JOIN taken t ON t.arena = l.arena AND t.boot = l.boot
),
spent AS (
    SELECT 'run' AS what, arena, seq, run, boot, how, seconds, usd FROM ended
    UNION ALL
    SELECT 'lost', arena, seq, run, boot, NULL, seconds, NULL FROM lost
    UNION ALL
    SELECT 'idle', arena, seq, NULL, boot, NULL, seconds, NULL FROM rest
)
SELECT
    s.what, s.arena, s.seq, s.run, s.boot, coalesce(l.worker, s.boot) AS worker, l.worker_class, l.provider, l.spot, s.how,
    s.seconds, CASE WHEN s.what = 'run' THEN s.usd ELSE l.price_per_hour_usd / l.slots * s.seconds / 3600 END AS usd,
    l.boot IS NOT NULL AS has_life
FROM spent s
LEFT JOIN lives l ON l.arena = s.arena AND l.boot = s.boot;
