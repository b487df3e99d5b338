-- Runs by state, the runs finished per minute in the last five minutes, and how many notes may have claims.
SELECT
    count(*) AS runs,
    count(*) FILTER (state = 'scored') AS scored,
    count(*) FILTER (finished_seq IS NOT NULL) AS finished,
    count(*) FILTER (state = 'failed') AS failed,
    count(*) FILTER (state = 'killed' AND finished_seq IS NOT NULL) AS stopped,
    count(*) FILTER (state = 'running') AS running,
    count(*) FILTER (state = 'requested') AS waiting,
    count(*) FILTER (finished_at > (now() AT TIME ZONE 'UTC') - INTERVAL 5 MINUTE) / 5 AS per_minute,
    coalesce(sum(trial_s), 0) AS trial_s,
    coalesce(sum(trial_s) FILTER (starts_with(worker_class, 'cuda')), 0) / 3600 AS gpu_hours,
    (SELECT count(*) FROM board WHERE arena = '$arena' AND contains(text, 'commit:')) AS claiming
FROM runs
WHERE arena = '$arena'
