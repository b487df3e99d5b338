-- The reigns, one row each: a promotion counts only if it met the champion at that point of the log ('' at first), and if
-- the version in force does not rule out the proposal. A version that rules out the champion ends its reign, and so does a
-- critic: then the next promotion meets ''.
CREATE OR REPLACE VIEW champions AS
WITH RECURSIVE moves AS MATERIALIZED (
    SELECT j.arena, j.seq, j.time, j.proposal, j.met
    FROM internal.judged j
    JOIN internal.proposed p ON p.arena = j.arena AND p.proposal = j.proposal AND p.seq < j.seq
    WHERE j.verdict = 'promoted' AND j.proposal <> j.met AND NOT EXISTS (
        SELECT 1 FROM internal.ruled_out r
        WHERE r.arena = j.arena AND r.proposal = j.proposal AND r.seq < j.seq AND j.seq < r.until_seq)
    UNION ALL
    SELECT arena, seq, time, '', proposal FROM internal.ruled_out
),
reigns AS (
    SELECT DISTINCT arena, 0::BIGINT AS seq, '' AS proposal, NULL::TIMESTAMP AS time, NULL::VARCHAR AS met, 0::BIGINT AS step
    FROM moves
    UNION ALL
    SELECT r.arena, min(p.seq), arg_min(p.proposal, p.seq), arg_min(p.time, p.seq), arg_min(p.met, p.seq), min(r.step) + 1
    FROM reigns r
    JOIN moves p ON p.arena = r.arena AND p.met = r.proposal AND p.seq > r.seq
    GROUP BY r.arena
),
ended AS (
    SELECT
        r.*,
        lead(r.time) OVER following AS next_time,
        lead(r.seq) OVER following AS next_seq
    FROM reigns r
    WINDOW following AS (PARTITION BY r.arena ORDER BY r.step)
)
SELECT
    e.arena, row_number() OVER (PARTITION BY e.arena ORDER BY e.step) AS reign, e.proposal, e.met, e.seq, e.time AS since,
    e.next_time AS until, e.next_seq IS NULL AS reigns, e.next_seq AS until_seq
FROM ended e
WHERE e.proposal <> '';
