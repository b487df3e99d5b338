-- What trials cost, by worker class and provider; spot machines stand apart. A sum of dollars is NULL where any part of it
-- is unknown, and `usd_unknown` counts those parts. Promotions are counted where the last run of the proposal before was.
CREATE OR REPLACE VIEW economics AS
WITH spent AS (
    SELECT
        t.arena, t.worker_class, t.provider, t.spot, sum(t.seconds ORDER BY t.seq) FILTER (t.what = 'run') AS run_s,
        sum(t.seconds ORDER BY t.seq) FILTER (t.what = 'lost') AS lost_s,
        sum(t.seconds ORDER BY t.seq) FILTER (t.what = 'idle') AS idle_s,
        count(*) FILTER (t.what = 'run') AS trials, count(*) FILTER (t.how = 'scored') AS scored,
        median(t.seconds) FILTER (t.how = 'scored') AS median_run_s,
        sum(t.usd ORDER BY t.seq, t.what) AS known_usd, count(*) - count(t.usd) AS usd_unknown
    FROM internal.slot_time t
    WHERE t.has_life
    GROUP BY ALL
),
machines AS (
    SELECT
        arena, worker_class, provider, spot, count(DISTINCT worker) AS workers, arg_max(slots, seq) AS slots,
        last(price_per_hour_usd ORDER BY seq) AS price_per_hour_usd, count(*) - count(price_per_hour_usd) AS price_unknown
    FROM internal.lives
    GROUP BY ALL
),
promotions AS (
    SELECT j.arena, j.seq, arg_max(f.worker, f.seq) AS boot
    FROM champions c
    JOIN internal.judged j ON j.arena = c.arena AND j.seq = c.seq
    JOIN internal.requested r ON r.arena = j.arena AND r.proposal = j.proposal
    JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run AND f.seq > r.seq AND f.seq < j.seq AND f.how = 'scored'
    WHERE j.met <> ''
    GROUP BY ALL
),
promoted AS (
    SELECT l.arena, l.worker_class, l.provider, l.spot, count(*) AS promoted
    FROM promotions p
    JOIN internal.lives l ON l.arena = p.arena AND l.boot = p.boot
    GROUP BY ALL
),
joined AS (
    SELECT
        s.*, m.workers, m.slots, m.price_per_hour_usd, m.price_unknown, coalesce(p.promoted, 0) AS promoted,
        CASE WHEN s.usd_unknown = 0 THEN s.known_usd END AS usd,
        coalesce(s.run_s, 0) + coalesce(s.lost_s, 0) + coalesce(s.idle_s, 0) AS all_s
    FROM spent s
    JOIN machines m
        ON m.arena = s.arena AND m.worker_class = s.worker_class AND m.provider IS NOT DISTINCT FROM s.provider AND m.spot = s.spot
    LEFT JOIN promoted p
        ON p.arena = s.arena AND p.worker_class = s.worker_class AND p.provider IS NOT DISTINCT FROM s.provider AND p.spot = s.spot
)
SELECT
    arena, worker_class, provider, spot, workers, slots, price_per_hour_usd, price_unknown, trials, scored, promoted,
    median_run_s, slots * 3600 / nullif(median_run_s, 0) AS trials_per_hour, coalesce(run_s, 0) AS run_s,
    coalesce(lost_s, 0) AS lost_s, coalesce(idle_s, 0) AS idle_s, coalesce(lost_s, 0) / nullif(all_s, 0) AS share_lost,
    coalesce(idle_s, 0) / nullif(all_s, 0) AS share_idle, usd, usd_unknown, usd / nullif(trials, 0) AS usd_per_trial,
    usd / nullif(scored, 0) AS usd_per_scored, usd / nullif(promoted, 0) AS usd_per_promotion
FROM joined
ORDER BY arena, worker_class, provider NULLS FIRST, spot;
