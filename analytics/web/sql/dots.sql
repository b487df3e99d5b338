-- The latest scores in the order in which they came.
SELECT seq, time, value, proposal, run, lane
FROM (
    SELECT finished_seq AS seq, epoch(finished_at) AS time, value, proposal, run, lane
    FROM scores
    WHERE arena = '$arena'
    ORDER BY seq DESC
    LIMIT 20000
)
ORDER BY seq
