-- What was spent on ideas and on runs; what nobody knows is counted.
SELECT what, sum(count)::BIGINT, sum(usd ORDER BY who), sum(usd_unknown)::BIGINT, sum(tokens_in)::BIGINT,
    sum(tokens_out)::BIGINT, sum(seconds ORDER BY who)
FROM cost
WHERE arena = {arena}
GROUP BY what
ORDER BY what;
