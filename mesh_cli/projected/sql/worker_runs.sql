-- How the runs ended that a worker executed in its lives, and the seconds that they took, added in the order of the requests.
SELECT CASE WHEN f.how = 'failed' THEN f.reason ELSE f.how END AS word, count(*) AS count,
    sum(f.trial_s + f.score_s ORDER BY r.seq) AS seconds
FROM internal.finished f
JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run
WHERE f.arena = {arena} AND f.worker IN {boots}
GROUP BY word
