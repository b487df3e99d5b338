-- The reigns, one row each: a promotion counts only if it met the champion at that point of the log ('' at first).
CREATE OR REPLACE VIEW champions AS
WITH RECURSIVE promotions AS MATERIALIZED (
    SELECT j.arena, j.seq, j.time, j.proposal, j.met
    FROM internal.judged j
    JOIN internal.proposed p ON p.arena = j.arena AND p.proposal = j.proposal AND p.seq < j.seq
    WHERE j.verdict = 'promoted' AND j.proposal <> j.met
),
reigns AS (
    SELECT DISTINCT arena, 0::BIGINT AS seq, '' AS proposal, 0::BIGINT AS reign FROM promotions
    UNION ALL
    SELECT r.arena, min(p.seq), arg_min(p.proposal, p.seq), min(r.reign) + 1
    FROM reigns r
    JOIN promotions p ON p.arena = r.arena AND p.met = r.proposal AND p.seq > r.seq
    GROUP BY r.arena
)
SELECT
    r.arena, r.reign, r.proposal, p.met, r.seq, p.time AS since,
    lead(p.time) OVER following AS until,
    lead(r.seq) OVER following IS NULL AS reigns,
    lead(r.seq) OVER following AS until_seq
FROM reigns r
JOIN promotions p USING (arena, seq)
WINDOW following AS (PARTITION BY r.arena ORDER BY r.reign);
