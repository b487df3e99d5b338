-- One row per arena and stage: the runs of search that reached it and that it ended, and the worker seconds that this
-- saved: for each, what the median scored run of search took more.
CREATE OR REPLACE VIEW screening AS
WITH searched AS (
    SELECT s.* FROM stages s WHERE s.lane IN ('explore', 'audit')
),
spent AS (
    SELECT arena, run, sum(trial_s + score_s ORDER BY place) AS seconds FROM searched GROUP BY arena, run
),
whole AS (
    SELECT s.arena, median(p.seconds) AS seconds
    FROM searched s
    JOIN spent p USING (arena, run)
    WHERE s.state = 'scored'
    GROUP BY s.arena
)
SELECT
    s.arena, s.stage, count(*) AS reached, count(*) FILTER (s.state = 'screened_out') AS screened_out,
    count(*) FILTER (s.state = 'failed') AS failed, median(s.trial_s + s.score_s) AS seconds,
    coalesce(sum(greatest(w.seconds - p.seconds, 0) ORDER BY s.seq) FILTER (s.state = 'screened_out'), 0) AS saved_s
FROM searched s
JOIN spent p USING (arena, run)
LEFT JOIN whole w USING (arena)
GROUP BY s.arena, s.stage
ORDER BY s.arena, min(s.place), s.stage;
