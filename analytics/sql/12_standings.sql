-- One row per proposal that has a score, of runs in one worker class: the ranking class of the arena where it has a score
-- there, else the class in which it has most fresh scores, of equals most scores. The mean is that of the fresh scores
-- alone where there are some (else it is a claim), with a 95 % interval by Student's t and the noise in force,
-- and by its items where it is a mean over items.
CREATE OR REPLACE VIEW internal.standings AS
WITH candidates AS MATERIALIZED (
    SELECT s.*, r.worker_class IS NOT NULL AS ranks
    FROM internal.class_standings s
    LEFT JOIN internal.ranking_classes r ON r.arena = s.arena AND r.worker_class = s.worker_class
),
chosen AS (
    SELECT * FROM candidates s
    WHERE NOT EXISTS (
        SELECT 1 FROM candidates o
        WHERE o.arena = s.arena AND o.proposal = s.proposal AND o.worker_class <> s.worker_class
            AND (o.ranks, o.proven_count, o.scores, s.worker_class) > (s.ranks, s.proven_count, s.scores, o.worker_class))
)
SELECT
    l.arena, l.proposal, l.sign,
    coalesce(l.proven_mean, l.claimed_sum / l.claimed_count) AS mean,
    l.proven_mean - sqrt((n.t975 * n.sd) ** 2 / l.proven_count + (l.margin_sum / l.proven_count) ** 2) AS low,
    l.proven_mean + sqrt((n.t975 * n.sd) ** 2 / l.proven_count + (l.margin_sum / l.proven_count) ** 2) AS high,
    CASE WHEN l.proven_count > 0 THEN l.proven_count ELSE l.scores END AS seeds,
    CASE WHEN l.sign > 0 THEN l.greatest ELSE l.least END AS best,
    CASE WHEN l.sign > 0 THEN l.least ELSE l.greatest END AS worst,
    l.seconds / l.scores AS trial_s, l.any_self_reported AS self_reported,
    l.proven_count AS fresh, CASE WHEN l.claimed_count > 0 THEN l.claimed_sum / l.claimed_count END AS claimed,
    l.worker_class, l.ranks, nullif(l.used_s, 0) / l.scores AS budget_used_s
FROM chosen l
LEFT JOIN internal.noise_in_force n ON n.arena = l.arena AND n.worker_class = l.worker_class;
