-- What the version in force asks of a worker, and how long it lets a trial run.
SELECT
    (o.body->>'$.spec.trial.budget_s')::DOUBLE, (o.body->>'$.spec.trial.deadline_s')::DOUBLE,
    coalesce(o.body->>'$.spec.worker.class', 'any'), coalesce((o.body->>'$.spec.worker.gpu_memory_gb')::DOUBLE, 0)
FROM arenas a
JOIN internal.facts o ON o.arena = a.arena AND o.kind = 'arena.opened' AND o.key = a.version::VARCHAR
WHERE a.arena = {arena};
