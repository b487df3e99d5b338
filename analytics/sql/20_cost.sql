-- What was spent, by whom and on what; what is unknown is counted as such and never as zero. `run` is the time of workers
-- that finished runs took, `lost` that of attempts that no finish came of, `idle` the rest of what workers were there.
CREATE OR REPLACE VIEW cost AS
WITH spent AS (
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
    SELECT arena, seq, what, worker, usd, NULL, NULL, seconds FROM internal.slot_time
    UNION ALL
    SELECT f.arena, f.seq, 'judge', coalesce(j.author, f.worker), f.judge_usd, f.judge_tokens_in, f.judge_tokens_out, f.score_s
    FROM internal.finished f
    JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
    LEFT JOIN internal.facts j ON j.kind = 'worker.joined' AND j.arena = f.arena AND j.key = f.worker
    WHERE f.judge_calls IS NOT NULL
)
SELECT
    arena, what, who, count(*) AS count, sum(usd ORDER BY seq, what) AS usd, count(*) - count(usd) AS usd_unknown,
    sum(tokens_in)::BIGINT AS tokens_in, sum(tokens_out)::BIGINT AS tokens_out, sum(seconds ORDER BY seq, what) AS seconds
FROM spent
GROUP BY ALL
ORDER BY arena, what, who;
