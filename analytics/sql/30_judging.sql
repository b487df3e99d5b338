-- One row per finished run whose scoring asked models (`[judge]`): calls, answers from the cache, tokens and dollars.
CREATE OR REPLACE VIEW judging AS
SELECT
    r.arena, r.run, r.proposal, r.lane, r.state, f.judge_calls AS calls, f.judge_cached AS cached,
    f.judge_tokens_in AS tokens_in, f.judge_tokens_out AS tokens_out, f.judge_usd AS usd, r.finished_seq AS seq
FROM runs r
JOIN internal.finished f ON f.arena = r.arena AND f.seq = r.finished_seq
WHERE f.judge_calls IS NOT NULL
ORDER BY r.arena, seq;
