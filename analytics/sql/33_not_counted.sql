-- The entries of a log that do not count, each with why. Promotions and retirements that do not count are not among them:
-- `proposals` and `champions` say which of those do.
CREATE OR REPLACE VIEW not_counted AS
WITH void AS (
    SELECT arena, seq, time, author, kind, key, decoded, CASE WHEN decoded THEN body->>'$.run' END AS run,
        CASE WHEN decoded THEN body->>'$.worker' END AS worker, CASE kind
            WHEN 'worker.left' THEN 'worker.joined' WHEN 'agent.left' THEN 'agent.joined' END AS joined,
        kind = 'critique.posted' AND (
            EXISTS (SELECT 1 FROM internal.proposed o WHERE o.arena = p.arena AND o.proposal = p.key AND o.seq < p.seq)
            OR EXISTS (SELECT 1 FROM internal.requested q WHERE q.arena = p.arena AND q.run = p.key AND q.seq < p.seq)
        ) AS has_target
    FROM internal.posts p
    WHERE NOT counts
),
begun AS (
    SELECT DISTINCT v.arena, v.seq
    FROM void v
    JOIN internal.started s ON s.arena = v.arena AND s.run = v.run AND s.worker = v.worker AND s.seq < v.seq
    JOIN internal.facts j ON j.arena = v.arena AND j.kind = 'worker.joined' AND j.key = v.worker AND j.author = v.author
    WHERE v.kind = 'run.finished'
)
SELECT
    v.arena, v.seq, v.time, v.author, v.kind, v.key, v.run,
    CASE
        WHEN NOT v.decoded THEN 'it is not understood'
        WHEN v.joined IS NOT NULL AND l.seq IS NULL THEN 'nobody had joined with this id'
        WHEN v.joined IS NOT NULL AND l.author <> v.author THEN 'its author is not the one that left'
        WHEN v.kind = 'critique.posted' AND NOT v.has_target THEN 'nobody had posted what it is about'
        WHEN v.kind NOT IN ('run.started', 'run.killed', 'run.finished') THEN 'a fact before it has its key'
        WHEN r.seq IS NULL THEN 'nobody had requested the run'
        WHEN f.seq IS NOT NULL THEN 'the run had finished'
        WHEN b.seq IS NOT NULL THEN 'its author is in quarantine'
        WHEN v.kind = 'run.finished' THEN 'its author had not begun the run'
        WHEN v.kind = 'run.started' THEN 'its author may not begin this attempt'
        ELSE 'a fact before it has its key'
    END AS why
FROM void v
LEFT JOIN internal.requested r ON r.arena = v.arena AND r.run = v.run AND r.seq < v.seq
LEFT JOIN internal.finished f ON f.arena = v.arena AND f.run = v.run AND f.seq < v.seq
LEFT JOIN internal.facts l ON l.arena = v.arena AND l.kind = v.joined AND l.key = v.key AND l.seq < v.seq
LEFT JOIN begun b ON b.arena = v.arena AND b.seq = v.seq
ORDER BY v.arena, v.seq;
