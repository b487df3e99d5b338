-- What each author's model calls cost, where it is known, as far as it counts, added in the order of the log.
SELECT c.author, min(seq) FILTER (c.usd IS NOT NULL) AS usd_seq, sum(coalesce(u.usd, c.usd) ORDER BY seq) AS usd,
    sum(coalesce(tokens_in, 0)::HUGEINT + coalesce(tokens_out, 0))
        FILTER (tokens_in IS NOT NULL OR tokens_out IS NOT NULL) AS tokens
FROM (
    SELECT seq, author, usd, tokens_in, tokens_out FROM internal.proposed WHERE arena = {arena}
    UNION ALL
    SELECT seq, author, usd, tokens_in, tokens_out FROM internal.criticised WHERE arena = {arena} AND costs
    UNION ALL
    SELECT seq, author, try_cast(body->>'$.cost.usd' AS DOUBLE), try_cast(body->>'$.cost.tokens_in' AS BIGINT),
        try_cast(body->>'$.cost.tokens_out' AS BIGINT)
    FROM internal.posts
    WHERE arena = {arena} AND counts AND kind = 'model.asked'
) c
LEFT JOIN (SELECT seq, usd FROM internal.uncounted WHERE arena = {arena}) u USING (seq)
WHERE c.usd IS NOT NULL OR tokens_in IS NOT NULL OR tokens_out IS NOT NULL
GROUP BY c.author
