-- The seconds of workers by lane, added in the order of the requests, and (`in_order`) of the ends.
SELECT r.lane, count(*) AS runs, sum(f.trial_s + f.score_s ORDER BY r.seq) AS seconds,
    sum(f.trial_s + f.score_s ORDER BY f.seq) AS in_order,
    sum(f.trial_s + f.score_s ORDER BY r.seq) FILTER (f.how = 'failed' AND f.reason <> 'killed') AS failed
FROM internal.finished f
JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run
WHERE f.arena = {arena}
GROUP BY r.lane
