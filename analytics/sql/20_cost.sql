-- What was spent, by whom and on what; what is unknown is counted as such and never as zero.
CREATE OR REPLACE VIEW cost AS
WITH ended AS MATERIALIZED (
    SELECT
        r.arena, f.seq, r.worker, f.usd, f.trial_s, f.score_s, f.judge_calls, f.judge_usd, f.judge_tokens_in,
        f.judge_tokens_out
    FROM runs r
    JOIN internal.finished f ON f.arena = r.arena AND f.seq = r.finished_seq
),
spent AS (
    SELECT
        arena, seq, 'proposal' AS what, author AS who, usd, tokens_in, tokens_out, seconds
    FROM internal.proposed
    UNION ALL
    SELECT arena, seq, 'critique', author, usd, tokens_in, tokens_out, seconds FROM internal.criticised WHERE costs
    UNION ALL
    SELECT
        arena, seq, 'failed call', author, try_cast(body->>'$.cost.usd' AS DOUBLE),
        try_cast(body->>'$.cost.tokens_in' AS BIGINT), try_cast(body->>'$.cost.tokens_out' AS BIGINT),
        try_cast(body->>'$.cost.seconds' AS DOUBLE)
    FROM internal.facts
    WHERE kind = 'model.asked'
    UNION ALL
    SELECT arena, seq, 'run', worker, usd, NULL, NULL, trial_s + score_s FROM ended
    UNION ALL
    SELECT arena, seq, 'judge', worker, judge_usd, judge_tokens_in, judge_tokens_out, score_s
    FROM ended
    WHERE judge_calls IS NOT NULL
)
SELECT
    arena, what, who, count(*) AS count, sum(usd ORDER BY seq) AS usd, count(*) - count(usd) AS usd_unknown,
    sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out, sum(seconds ORDER BY seq) AS seconds
FROM spent
GROUP BY ALL
ORDER BY arena, what, who;
