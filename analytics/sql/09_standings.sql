-- One row per proposal that has a score: its mean, of the fresh scores alone where there are some (else it is a claim), with
-- a 95 % interval by the pooled noise of the arena (normal approximation).
CREATE OR REPLACE VIEW standings AS
WITH latest AS (
    SELECT * FROM scored s
    WHERE NOT EXISTS (SELECT 1 FROM scored n WHERE n.arena = s.arena AND n.previous = s.seq)
),
pooled AS (
    SELECT arena, sqrt(sum(proven_squares ORDER BY seq) / sum(proven_count - 1)) AS sd
    FROM latest
    WHERE proven_count > 1
    GROUP BY arena
)
SELECT
    l.arena, l.proposal, l.sign,
    coalesce(l.proven_mean, l.claimed_sum / l.claimed_count) AS mean,
    l.proven_mean - 1.96 * n.sd / sqrt(l.proven_count) AS low,
    l.proven_mean + 1.96 * n.sd / sqrt(l.proven_count) AS high,
    CASE WHEN l.proven_count > 0 THEN l.proven_count ELSE l.scores END AS seeds,
    CASE WHEN l.sign > 0 THEN l.greatest ELSE l.least END AS best,
    CASE WHEN l.sign > 0 THEN l.least ELSE l.greatest END AS worst,
    l.seconds / l.scores AS trial_s, l.any_self_reported AS self_reported,
    l.proven_count AS fresh, CASE WHEN l.claimed_count > 0 THEN l.claimed_sum / l.claimed_count END AS claimed
FROM latest l
LEFT JOIN pooled n ON n.arena = l.arena;
