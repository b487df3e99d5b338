-- What `mesh status` counts over all of a log; `lately` are the runs that ended in the last seconds of it.
WITH recent AS (
    SELECT min(seq) AS seq FROM internal.posts
    WHERE arena = {arena} AND time >= (
        SELECT max(time) - to_microseconds({rate_over_us}) FROM internal.posts
        WHERE arena = {arena} AND seq = (SELECT seq FROM internal.checkpoints WHERE arena = {arena}))
)
SELECT
    (SELECT count(*) FROM internal.proposed WHERE arena = {arena}) AS proposals,
    (SELECT count(*) FROM internal.posts WHERE arena = {arena} AND NOT decoded) AS not_understood,
    (SELECT count(*) FROM internal.requested WHERE arena = {arena} AND lane IN ('confirm', 'control')) AS proofs,
    (SELECT count(*) FROM internal.posts
        WHERE arena = {arena} AND kind = 'run.finished' AND seq >= (SELECT seq FROM recent)) AS lately,
    count(*) AS finished, sum(judge_calls) AS judge_calls, sum(judge_cached) AS judge_cached,
    sum(judge_tokens_in) AS judge_tokens_in, sum(judge_tokens_out) AS judge_tokens_out,
    sum(coalesce(u.usd, judge_usd) ORDER BY seq) AS judge_usd
FROM internal.finished
LEFT JOIN (SELECT seq, usd FROM internal.uncounted WHERE arena = {arena}) u USING (seq)
WHERE arena = {arena}
