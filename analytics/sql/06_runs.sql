-- One row per run that was asked for; of several finishes the first in the log counts. A run is requested again when
-- the worker that began it has left or has another life; that a worker was killed the log does not know. It is replaced if
-- the queue lost it and it was asked for again.
CREATE OR REPLACE VIEW runs AS
WITH starts AS (
    SELECT
        s.arena, s.run, min(s.time) AS started_at, max(s.attempt) AS attempts, arg_max(s.worker, s.seq) AS worker
    FROM internal.started s
    JOIN internal.requested r ON r.arena = s.arena AND r.run = s.run AND s.seq > r.seq
    GROUP BY ALL
),
kills AS (
    SELECT arena, key AS run, seq, body->>'$.by' AS killed_by FROM internal.facts WHERE kind = 'run.killed'
),
replaced AS (
    SELECT DISTINCT arena, instead_of AS run FROM internal.requested WHERE instead_of IS NOT NULL
),
lives AS (
    SELECT
        j.arena, j.key AS boot, j.author AS worker,
        l.seq IS NOT NULL OR j.seq < max(j.seq) OVER (PARTITION BY j.arena, j.author) AS gone
    FROM internal.facts j
    LEFT JOIN internal.facts l ON l.kind = 'worker.left' AND l.arena = j.arena AND l.key = j.key AND l.seq > j.seq
    WHERE j.kind = 'worker.joined'
)
SELECT
    r.arena, r.run, r.proposal, p.author, r.lane, r.seed,
    CASE
        WHEN f.how = 'scored' THEN 'scored'
        WHEN f.how IN ('infeasible', 'screened_out') THEN f.how
        WHEN f.reason = 'killed' THEN 'killed'
        WHEN f.seq IS NOT NULL THEN 'failed'
        WHEN k.seq IS NOT NULL THEN 'killed'
        WHEN i.run IS NOT NULL THEN 'replaced'
        WHEN s.run IS NOT NULL AND NOT coalesce(n.gone, false) THEN 'running'
        ELSE 'requested'
    END AS state,
    coalesce(f.reason, CASE WHEN f.seq IS NULL THEN k.killed_by END) AS reason,
    f.value,
    coalesce(n.worker, f.worker, s.worker) AS worker,
    coalesce(f.worker_class, r.worker_class) AS worker_class,
    coalesce(s.attempts, 0) AS attempts,
    r.time AS requested_at, s.started_at, f.time AS finished_at,
    epoch(s.started_at - r.time) AS queue_s,
    f.trial_s, f.score_s, f.peak_memory_mb,
    coalesce(f.self_reported, false) AS self_reported,
    coalesce(nullif(f.evaluator, ''), r.evaluator) AS evaluator,
    r.seq, f.seq AS finished_seq,
    f.message, f.cpu_s, f.usd, f.budget_used_s, f.budget_counts, f.predict_s, f.violation, f.stage,
    f.peak_gpu_memory_mb, f.gpu_utilisation
FROM internal.requested r
LEFT JOIN internal.proposed p ON p.arena = r.arena AND p.proposal = r.proposal
LEFT JOIN starts s ON s.arena = r.arena AND s.run = r.run
LEFT JOIN kills k ON k.arena = r.arena AND k.run = r.run AND k.seq > r.seq
LEFT JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run AND f.seq > r.seq
LEFT JOIN replaced i ON i.arena = r.arena AND i.run = r.run
LEFT JOIN lives n ON n.arena = r.arena AND n.boot = coalesce(f.worker, s.worker);
