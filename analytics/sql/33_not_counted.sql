-- The entries of a log that do not count, each with why. Promotions and retirements that do not count are not among them:
-- `proposals` and `champions` say which of those do.
CREATE OR REPLACE VIEW not_counted AS
WITH void AS (
    SELECT arena, seq, time, author, kind, key, decoded, CASE WHEN decoded THEN body->>'$.run' END AS run
    FROM internal.posts
    WHERE NOT counts
)
SELECT
    v.arena, v.seq, v.time, v.author, v.kind, v.key, v.run,
    CASE
        WHEN NOT v.decoded THEN 'it is not understood'
        WHEN v.kind NOT IN ('run.started', 'run.killed', 'run.finished') THEN 'a fact before it has its key'
        WHEN r.seq IS NULL THEN 'nobody had requested the run'
        WHEN f.seq IS NOT NULL THEN 'the run had finished'
        WHEN v.kind = 'run.finished' THEN 'its author had not begun the run'
        WHEN v.kind = 'run.started' THEN 'its author may not begin this attempt'
        ELSE 'a fact before it has its key'
    END AS why
FROM void v
LEFT JOIN internal.requested r ON r.arena = v.arena AND r.run = v.run AND r.seq < v.seq
LEFT JOIN internal.finished f ON f.arena = v.arena AND f.run = v.run AND f.seq < v.seq
ORDER BY v.arena, v.seq;
