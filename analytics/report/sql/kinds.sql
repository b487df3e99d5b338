-- Each kind of author: what its proposals took, and how often one of them scored best so far.
WITH ran AS (
    SELECT
        r.proposal, count(*) AS runs, count(*) FILTER (f.how = 'failed' AND f.reason <> 'killed') AS failed,
        count(*) FILTER (f.reason = 'killed') AS killed, sum(coalesce(f.trial_s, 0) ORDER BY f.seq) AS worker_s
    FROM internal.finished f
    JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
    WHERE f.arena = {arena} AND r.lane = 'explore'
    GROUP BY r.proposal
),
frontiers AS (
    SELECT proposal, count(*) AS bests FROM frontier WHERE arena = {arena} AND gain IS NOT NULL GROUP BY proposal
),
posted AS (
    SELECT proposal, seq, origin AS how, coalesce(origin_name, '') AS name, usd
    FROM internal.proposed
    WHERE arena = {arena}
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
