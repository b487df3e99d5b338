-- The best single score so far over time: one row per run that improved on all before it. `usd` is what the arena had
-- spent by then, on models, judges and the time of workers, runs or not; NULL where any part of it is unknown.
CREATE OR REPLACE VIEW frontier AS
WITH thought AS (
    SELECT arena, seq, usd FROM internal.proposed WHERE origin = 'model'
    UNION ALL
    SELECT arena, seq, usd FROM internal.criticised WHERE costs
    UNION ALL
    SELECT arena, seq, try_cast(body->>'$.cost.usd' AS DOUBLE) FROM internal.facts WHERE kind = 'model.asked'
    UNION ALL
    SELECT arena, seq, judge_usd FROM internal.finished WHERE judge_calls IS NOT NULL
),
counted AS (
    SELECT t.arena, t.seq, coalesce(u.usd, t.usd) AS usd
    FROM thought t
    LEFT JOIN internal.uncounted u ON u.arena = t.arena AND u.seq = t.seq
),
summed AS (
    SELECT
        arena, seq, sum(usd) OVER so_far AS usd, count(*) OVER so_far - count(usd) OVER so_far AS unknown
    FROM counted
    WINDOW so_far AS (PARTITION BY arena ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
worked AS (
    SELECT
        b.arena, b.seq, count(*) - count(l.price_per_hour_usd) AS unknown,
        sum(l.price_per_hour_usd * epoch(least(l.ended_at, b.time) - l.joined_at) / 3600 ORDER BY l.seq) AS usd
    FROM internal.best_scores b
    JOIN internal.lives l ON l.arena = b.arena AND l.joined_at <= b.time
    GROUP BY ALL
)
SELECT
    b.*,
    CASE
        WHEN coalesce(w.unknown, 0) + coalesce(t.unknown, 0) = 0 AND w.seq IS NOT NULL THEN coalesce(w.usd, 0) + coalesce(t.usd, 0)
    END AS usd
FROM internal.best_scores b
ASOF LEFT JOIN summed t ON t.arena = b.arena AND t.seq <= b.seq
LEFT JOIN worked w ON w.arena = b.arena AND w.seq = b.seq
ORDER BY b.arena, b.seq;
