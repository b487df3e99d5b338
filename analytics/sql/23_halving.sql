-- One row per arena: runs that were ended early by their curves, the worker seconds that it saved (of the median whole
-- run), and of the runs that were spared, to learn from, how many the rule would have ended and how many of those were
-- wrong: what they found was later run again on fresh seeds.
CREATE OR REPLACE VIEW halving AS
WITH whole AS (
    SELECT arena, median(trial_s) AS trial_s FROM runs WHERE lane = 'explore' AND state = 'scored' GROUP BY arena
),
killed AS (
    SELECT r.arena, count(*) AS killed, sum(w.trial_s - r.trial_s ORDER BY r.seq) AS saved_s
    FROM runs r
    JOIN whole w USING (arena)
    WHERE r.state = 'killed'
    GROUP BY ALL
),
spared AS (
    SELECT DISTINCT arena, target AS run FROM internal.criticised WHERE rule = 'halving'
),
confirmed AS (
    SELECT DISTINCT arena, proposal FROM internal.requested WHERE lane = 'confirm'
),
judged AS (
    SELECT arena, count(*) AS would_be_killed, count(c.proposal) AS wrong
    FROM spared s
    JOIN runs r USING (arena, run)
    LEFT JOIN confirmed c USING (arena, proposal)
    WHERE r.state = 'scored'
    GROUP BY arena
)
SELECT
    w.arena, coalesce(k.killed, 0) AS killed, coalesce(k.saved_s, 0) AS saved_s, w.trial_s AS whole_s,
    coalesce(j.would_be_killed, 0) AS would_be_killed, coalesce(j.wrong, 0) AS wrong,
    j.wrong / nullif(j.would_be_killed, 0) AS wrong_rate
FROM whole w
LEFT JOIN killed k USING (arena)
LEFT JOIN judged j USING (arena)
ORDER BY w.arena;
