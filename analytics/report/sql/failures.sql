-- How runs failed, in the words of the workers, most frequent first.
SELECT f.reason, regexp_replace(left(coalesce(f.message, ''), 200), '[0-9]+(\.[0-9]+)?', '…', 'g') AS said, count(*)
FROM internal.finished f
JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
WHERE f.arena = {arena} AND f.how = 'failed' AND f.reason <> 'killed'
GROUP BY ALL
ORDER BY count(*) DESC, 1, 2;
