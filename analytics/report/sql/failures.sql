-- How runs failed, in the words of the workers, most frequent first.
SELECT reason, regexp_replace(left(coalesce(message, ''), 200), '[0-9]+(\.[0-9]+)?', '…', 'g') AS said, count(*)
FROM runs
WHERE arena = {arena} AND state = 'failed' AND finished_seq IS NOT NULL
GROUP BY ALL
ORDER BY count(*) DESC, 1, 2;
