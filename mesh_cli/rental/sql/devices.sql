-- What the newest worker of each class runs on; memory is that of one GPU, in MiB.
SELECT key_class, arg_max(device, seq), arg_max(memory_mb, seq)
FROM (
    SELECT
        seq, body->>'$.worker_class' AS key_class, body->>'$.device' AS device,
        coalesce((body->>'$.memory_mb')::DOUBLE, 0) AS memory_mb
    FROM internal.facts
    WHERE arena = {arena} AND kind = 'worker.joined'
)
GROUP BY key_class
ORDER BY key_class;
