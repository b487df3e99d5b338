-- Who took part: what each has proposed, what its proposals earned, and what it spent on ideas.
WITH measured AS (
    SELECT p.author AS agent, count(DISTINCT p.proposal) AS scored
    FROM scores s
    JOIN internal.proposed p USING (arena, proposal)
    WHERE arena = {arena}
    GROUP BY ALL
),
spent AS (
    SELECT
        who AS agent, sum(usd ORDER BY what) AS usd, sum(usd_unknown)::BIGINT AS usd_unknown,
        sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0))::BIGINT AS tokens
    FROM cost
    WHERE arena = {arena} AND what IN ('proposal', 'critique', 'failed call')
    GROUP BY who
)
SELECT
    a.agent, a.role, coalesce(a.model, ''), a.proposals, coalesce(m.scored, 0), a.promoted, a.improvement, a.worker_s,
    s.usd, coalesce(s.usd_unknown, 0), coalesce(s.tokens, 0)
FROM agents a
LEFT JOIN measured m USING (agent)
LEFT JOIN spent s USING (agent)
WHERE a.arena = {arena} AND a.proposals + a.critiques > 0
ORDER BY a.improvement DESC, a.agent;
