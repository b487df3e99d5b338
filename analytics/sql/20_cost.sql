-- What was spent, by whom and on what; what is unknown is counted as such and never as zero. `run` is the time of workers
-- that finished runs took, `lost` that of attempts that no finish came of, `idle` the rest of what workers were there.
-- `uncounted_usd` is what authors say beyond what they had reserved: it is not part of `usd`, and no budget counts it.
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
    s.arena, s.what, s.who, count(*) AS count, sum(coalesce(u.usd, s.usd) ORDER BY s.seq, s.what) AS usd,
    count(*) - count(s.usd) AS usd_unknown, sum(s.tokens_in)::BIGINT AS tokens_in,
    sum(s.tokens_out)::BIGINT AS tokens_out, sum(s.seconds ORDER BY s.seq, s.what) AS seconds,
    coalesce(sum(u.uncounted_usd ORDER BY s.seq, s.what), 0) AS uncounted_usd
FROM spent s
LEFT JOIN internal.uncounted u
    ON u.arena = s.arena AND u.seq = s.seq AND s.what IN ('proposal', 'critique', 'failed call', 'judge')
GROUP BY ALL
ORDER BY arena, what, who;
