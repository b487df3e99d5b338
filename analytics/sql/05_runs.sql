-- One row per run that was asked for; of several finishes the first in the log counts. What is needed of a body is taken
-- out before the joins, all at once: bodies with their curves would not fit in memory.
CREATE OR REPLACE VIEW runs AS
WITH asked AS (
    SELECT arena, seq, time, json_transform(body, '{
        "run": "VARCHAR", "proposal": "VARCHAR", "lane": "VARCHAR", "seed": "HUGEINT", "worker_class": "VARCHAR",
        "evaluator": "VARCHAR"}') AS asked
    FROM facts
    WHERE kind = 'run.requested'
),
requested AS (
    SELECT arena, seq, time, asked.run AS run, asked
    FROM asked
    QUALIFY row_number() OVER (PARTITION BY arena, run ORDER BY seq) = 1
),
begun AS (
    SELECT arena, seq, time, json_transform(body, '{"run": "VARCHAR", "attempt": "BIGINT", "worker": "VARCHAR"}') AS begun
    FROM facts
    WHERE kind = 'run.started'
),
starts AS (
    SELECT
        b.arena, b.begun.run AS run, min(b.time) AS started_at, max(b.begun.attempt) AS attempts,
        arg_max(b.begun.worker, b.seq) AS worker
    FROM begun b
    JOIN requested r ON r.arena = b.arena AND r.run = b.begun.run AND b.seq > r.seq
    GROUP BY ALL
),
kills AS (
    SELECT arena, key AS run, seq, body->>'$.by' AS killed_by FROM facts WHERE kind = 'run.killed'
),
finishes AS (
    SELECT arena, key AS run, seq, time, json_transform(body, '{
        "outcome": {"how": "VARCHAR", "reason": "VARCHAR", "value": "DOUBLE", "self_reported": "BOOLEAN",
            "message": "VARCHAR"},
        "worker": "VARCHAR", "worker_class": "VARCHAR", "evaluator": "VARCHAR", "trial_s": "DOUBLE", "score_s": "DOUBLE", "cpu_s": "DOUBLE",
        "peak_memory_mb": "DOUBLE", "cost": {"usd": "DOUBLE"}}') AS said
    FROM facts
    WHERE kind = 'run.finished'
),
names AS (
    SELECT arena, key AS boot, author AS worker FROM facts WHERE kind = 'worker.joined'
),
authors AS (
    SELECT arena, key AS proposal, author FROM facts WHERE kind = 'proposal.posted'
)
SELECT
    r.arena, r.run, r.asked.proposal AS proposal, p.author, r.asked.lane AS lane, r.asked.seed AS seed,
    CASE
        WHEN f.said.outcome.how = 'scored' THEN 'scored'
        WHEN f.said.outcome.reason = 'killed' THEN 'killed'
        WHEN f.seq IS NOT NULL THEN 'failed'
        WHEN k.seq IS NOT NULL THEN 'killed'
        WHEN s.run IS NOT NULL THEN 'running'
        ELSE 'requested'
    END AS state,
    coalesce(f.said.outcome.reason, CASE WHEN f.seq IS NULL THEN k.killed_by END) AS reason,
    f.said.outcome.value AS value,
    coalesce(n.worker, f.said.worker, s.worker) AS worker,
    coalesce(f.said.worker_class, r.asked.worker_class) AS worker_class,
    coalesce(s.attempts, 0) AS attempts,
    r.time AS requested_at, s.started_at, f.time AS finished_at,
    epoch(s.started_at - r.time) AS queue_s,
    f.said.trial_s AS trial_s, f.said.score_s AS score_s, f.said.peak_memory_mb AS peak_memory_mb,
    coalesce(f.said.outcome.self_reported, false) AS self_reported,
    coalesce(nullif(f.said.evaluator, ''), r.asked.evaluator) AS evaluator,
    r.seq, f.seq AS finished_seq,
    f.said.outcome.message AS message, f.said.cpu_s AS cpu_s, f.said.cost.usd AS usd
FROM requested r
LEFT JOIN authors p ON p.arena = r.arena AND p.proposal = r.asked.proposal
LEFT JOIN starts s ON s.arena = r.arena AND s.run = r.run
LEFT JOIN kills k ON k.arena = r.arena AND k.run = r.run AND k.seq > r.seq
LEFT JOIN finishes f ON f.arena = r.arena AND f.run = r.run AND f.seq > r.seq
LEFT JOIN names n ON n.arena = r.arena AND n.boot = coalesce(f.said.worker, s.worker);
