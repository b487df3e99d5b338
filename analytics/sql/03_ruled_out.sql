-- One row per proposal and version that rules it out, from entry `seq` until the next version (`until_seq`): because the
-- version fixes what it changed, or because a critic found later that it changed that (`mesh/ruling_out.py`).
CREATE OR REPLACE VIEW internal.ruled_out AS
WITH versions AS (
    SELECT arena, seq, time, baseline, ruled_out, rulings,
        lead(seq, 1, 9223372036854775807) OVER (PARTITION BY arena ORDER BY seq) AS until_seq
    FROM internal.opened o
    WHERE NOT EXISTS (
        SELECT 1 FROM internal.opened b WHERE b.arena = o.arena AND b.seq < o.seq AND coalesce(b.version, 0) >= coalesce(o.version, 0))
),
listed AS (
    SELECT arena, seq, time, until_seq, unnest(ruled_out) AS proposal, unnest(rulings) AS text FROM versions
    UNION ALL
    SELECT c.arena, c.seq, c.time, v.until_seq, c.target, c.ruling
    FROM internal.criticised c
    JOIN versions v ON v.arena = c.arena AND v.seq < c.seq AND c.seq < v.until_seq AND c.target <> v.baseline
    WHERE c.ruling IS NOT NULL
)
SELECT l.arena, l.proposal, min(l.seq) AS seq, arg_min(l.time, l.seq) AS time, l.until_seq, arg_min(l.text, l.seq) AS text
FROM listed l
JOIN internal.proposed p ON p.arena = l.arena AND p.proposal = l.proposal AND p.seq < l.seq
GROUP BY l.arena, l.proposal, l.until_seq;
