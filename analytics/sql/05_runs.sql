-- One row per run that was asked for; of several finishes the first in the log counts.
CREATE OR REPLACE VIEW runs AS
WITH requested AS (
    SELECT *, body->>'$.run' AS run
    FROM facts
    WHERE kind = 'run.requested'
    QUALIFY row_number() OVER (PARTITION BY arena, run ORDER BY seq) = 1
),
starts AS (
    SELECT
        f.arena, f.body->>'$.run' AS run, min(f.time) AS started_at,
        max(try_cast(f.body->>'$.attempt' AS BIGINT)) AS attempts,
        arg_max(f.body->>'$.worker', f.seq) AS worker
    FROM facts f
    JOIN requested r ON r.arena = f.arena AND r.run = f.body->>'$.run' AND f.seq > r.seq
    WHERE f.kind = 'run.started'
    GROUP BY ALL
)
SELECT
    r.arena, r.run, r.body->>'$.proposal' AS proposal, p.author, r.body->>'$.lane' AS lane,
    try_cast(r.body->>'$.seed' AS HUGEINT) AS seed,
    CASE
        WHEN f.body->>'$.outcome.how' = 'scored' THEN 'scored'
        WHEN f.body->>'$.outcome.reason' = 'killed' THEN 'killed'
        WHEN f.seq IS NOT NULL THEN 'failed'
        WHEN k.seq IS NOT NULL THEN 'killed'
        WHEN s.run IS NOT NULL THEN 'running'
        ELSE 'requested'
    END AS state,
    coalesce(f.body->>'$.outcome.reason', CASE WHEN f.seq IS NULL THEN k.body->>'$.by' END) AS reason,
    try_cast(f.body->>'$.outcome.value' AS DOUBLE) AS value,
    coalesce(f.body->>'$.worker', s.worker) AS worker,
    coalesce(f.body->>'$.worker_class', r.body->>'$.worker_class') AS worker_class,
    coalesce(s.attempts, 0) AS attempts,
    r.time AS requested_at, s.started_at, f.time AS finished_at,
    epoch(s.started_at - r.time) AS queue_s,
    try_cast(f.body->>'$.trial_s' AS DOUBLE) AS trial_s,
    try_cast(f.body->>'$.score_s' AS DOUBLE) AS score_s,
    try_cast(f.body->>'$.peak_memory_mb' AS DOUBLE) AS peak_memory_mb,
    coalesce(try_cast(f.body->>'$.outcome.self_reported' AS BOOLEAN), false) AS self_reported,
    r.body->>'$.evaluator' AS evaluator,
    r.seq, f.seq AS finished_seq,
    f.body->>'$.outcome.message' AS message,
    try_cast(f.body->>'$.cpu_s' AS DOUBLE) AS cpu_s,
    try_cast(f.body->>'$.cost.usd' AS DOUBLE) AS usd
FROM requested r
LEFT JOIN facts p ON p.kind = 'proposal.posted' AND p.arena = r.arena AND p.key = r.body->>'$.proposal'
LEFT JOIN starts s ON s.arena = r.arena AND s.run = r.run
LEFT JOIN facts k ON k.kind = 'run.killed' AND k.arena = r.arena AND k.key = r.run AND k.seq > r.seq
LEFT JOIN facts f ON f.kind = 'run.finished' AND f.arena = r.arena AND f.key = r.run AND f.seq > r.seq;
