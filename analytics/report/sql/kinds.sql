-- Each kind of author: what its proposals took, and how often one of them scored best so far.
WITH ran AS (
    SELECT
        proposal, count(*) AS runs, count(*) FILTER (state = 'failed') AS failed,
        count(*) FILTER (state = 'killed') AS killed, sum(coalesce(trial_s, 0) ORDER BY finished_seq) AS worker_s
    FROM runs
    WHERE arena = {arena} AND lane = 'explore' AND finished_seq IS NOT NULL
    GROUP BY proposal
),
frontiers AS (
    SELECT proposal, count(*) AS bests FROM frontier WHERE arena = {arena} AND gain IS NOT NULL GROUP BY proposal
),
posted AS (
    SELECT
        key AS proposal, seq, body->>'$.origin.how' AS how, coalesce(body->>'$.origin.name', '') AS name,
        try_cast(body->>'$.cost.usd' AS DOUBLE) AS usd
    FROM internal.facts
    WHERE arena = {arena} AND kind = 'proposal.posted'
)
SELECT
    p.how, p.name, count(*), sum(coalesce(r.runs, 0))::BIGINT, sum(coalesce(r.failed, 0))::BIGINT,
    sum(coalesce(r.killed, 0))::BIGINT, sum(coalesce(f.bests, 0))::BIGINT,
    sum(coalesce(r.worker_s, 0) ORDER BY p.seq), sum(p.usd ORDER BY p.seq)
FROM posted p
LEFT JOIN ran r USING (proposal)
LEFT JOIN frontiers f USING (proposal)
GROUP BY p.how, p.name
ORDER BY count(*) DESC, p.how, p.name;
