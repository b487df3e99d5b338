-- One row per run and stage that it reached; the last stage of an arena gives the score.
CREATE OR REPLACE VIEW stages AS
WITH ran AS (
    SELECT
        arena, run, seq, how, stage AS ended_by, unnest(stages) AS stage, unnest(stage_values) AS value,
        unnest(stage_trial_s) AS trial_s, unnest(stage_score_s) AS score_s,
        generate_subscripts(stages, 1) AS place, len(stages) AS count
    FROM internal.finished
)
SELECT
    n.arena, n.run, n.stage, n.place,
    CASE
        WHEN n.place < n.count THEN 'passed'
        WHEN n.how = 'failed' THEN 'failed'
        WHEN n.how = 'screened_out' THEN 'screened_out'
        ELSE 'scored'
    END AS state,
    n.value, n.trial_s, n.score_s, r.proposal, r.lane, r.seed, n.seq
FROM ran n
JOIN internal.requested r ON r.arena = n.arena AND r.run = n.run AND r.seq < n.seq
ORDER BY n.arena, n.seq, n.place;
