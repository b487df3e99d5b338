-- The best single score so far over time: one row per run that improved on all before it.
CREATE OR REPLACE VIEW internal.best_scores AS
WITH latest AS (
    SELECT arena, arg_max(time, coalesce(version, 0)) AS opened_at FROM internal.opened GROUP BY arena
)
SELECT
    s.arena, s.time, s.seq, s.run, s.proposal, p.title, p.author, s.value AS best,
    s.best - s.best_before AS gain, epoch(s.time - a.opened_at) / 3600 AS hours
FROM internal.scored s
JOIN latest a ON a.arena = s.arena
LEFT JOIN internal.proposed p ON p.arena = s.arena AND p.proposal = s.proposal
WHERE s.best_before IS NULL OR s.best > s.best_before
ORDER BY s.arena, s.seq;
