-- The best single score so far over time: one row per run that improved on all before it.
CREATE OR REPLACE VIEW frontier AS
WITH running AS (
    SELECT *, max(sign * value) OVER (
        PARTITION BY arena ORDER BY finished_seq ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM scores
)
SELECT
    r.arena, r.finished_at AS time, r.finished_seq AS seq, r.run, r.proposal, p.title, p.author, r.value AS best,
    r.sign * r.value - r.before AS gain, epoch(r.finished_at - a.opened_at) / 3600 AS hours
FROM running r
JOIN arenas a USING (arena)
LEFT JOIN proposals p USING (arena, proposal)
WHERE r.before IS NULL OR r.sign * r.value > r.before
ORDER BY r.arena, r.finished_seq;
