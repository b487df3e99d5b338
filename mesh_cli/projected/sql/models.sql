-- What each author's model calls cost, where it is known, added in the order of the log.
SELECT author, min(seq) FILTER (usd IS NOT NULL) AS usd_seq, sum(usd ORDER BY seq) AS usd,
    sum(coalesce(tokens_in, 0)::HUGEINT + coalesce(tokens_out, 0))
        FILTER (tokens_in IS NOT NULL OR tokens_out IS NOT NULL) AS tokens
FROM (
    SELECT seq, author, usd, tokens_in, tokens_out FROM internal.proposed WHERE arena = {arena}
    UNION ALL
    SELECT seq, author, usd, tokens_in, tokens_out FROM internal.criticised c
    WHERE arena = {arena} AND costs AND (
        EXISTS (SELECT 1 FROM internal.proposed p WHERE p.arena = c.arena AND p.proposal = c.target AND p.seq < c.seq)
        OR EXISTS (SELECT 1 FROM internal.requested r WHERE r.arena = c.arena AND r.run = c.target AND r.seq < c.seq))
    UNION ALL
    SELECT seq, author, try_cast(body->>'$.cost.usd' AS DOUBLE), try_cast(body->>'$.cost.tokens_in' AS BIGINT),
        try_cast(body->>'$.cost.tokens_out' AS BIGINT)
    FROM internal.posts
    WHERE arena = {arena} AND counts AND kind = 'model.asked'
)
WHERE usd IS NOT NULL OR tokens_in IS NOT NULL OR tokens_out IS NOT NULL
GROUP BY author
