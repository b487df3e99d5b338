-- Workers that are here first, then the latest that left.
SELECT worker, worker_class, device, slots, tier, host, state, runs, scored, failed, stopped, running, trial_s, epoch(last_at) AS last_at
FROM workers
WHERE arena = '$arena'
ORDER BY state, last_at DESC NULLS LAST, worker
