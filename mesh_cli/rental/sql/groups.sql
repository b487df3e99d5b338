-- Who has worked, by class, provider and whether it was a spot machine.
SELECT
    worker_class, provider, spot, slots, price_per_hour_usd, scored, median_run_s, run_s, lost_s
FROM economics
WHERE arena = {arena}
ORDER BY worker_class, scored DESC, provider, spot;
