-- One row per critic: its verdicts on proposals, how they compare with what became of them, and its calibration. A word
-- with a confidence is a forecast that the proposal will (endorse) or will not (warn, block) become champion; its Brier
-- score is 0 where it was certain and right, 0.25 for a coin.
CREATE OR REPLACE VIEW critics AS
WITH words AS (
    SELECT
        c.arena, c.seq, c.author AS critic, coalesce(r.proposal, c.target) AS proposal, c.verdict, c.predicted, c.confidence
    FROM internal.criticised c
    LEFT JOIN internal.requested r ON r.arena = c.arena AND r.run = c.target
),
judged AS (
    SELECT
        w.*, p.state, m.mean,
        CASE WHEN w.verdict = 'endorse' THEN w.confidence ELSE 1 - w.confidence END AS forecast,
        CASE
            WHEN p.state IN ('champion', 'past_champion', 'demoted') THEN 1
            WHEN p.state = 'retired' AND p.why <> 'blocked' THEN 0
        END AS won
    FROM words w
    LEFT JOIN internal.verdicts p USING (arena, proposal)
    LEFT JOIN internal.standings m USING (arena, proposal)
)
SELECT
    arena, critic, count(*) AS critiques,
    count(*) FILTER (verdict = 'endorse') AS endorsed,
    count(*) FILTER (verdict = 'warn') AS warned,
    count(*) FILTER (verdict = 'block') AS blocked,
    count(*) FILTER (verdict = 'endorse' AND state IN ('champion', 'past_champion')) AS endorsed_champions,
    count(*) FILTER (verdict = 'block' AND state IN ('champion', 'past_champion')) AS blocked_champions,
    count(*) FILTER (verdict = 'endorse' AND state = 'retired') AS endorsed_retired,
    count(predicted) FILTER (mean IS NOT NULL) AS predictions,
    avg(abs(predicted - mean) ORDER BY seq) AS mean_error,
    count(forecast) FILTER (won IS NOT NULL) AS forecasts,
    avg((forecast - won) * (forecast - won) ORDER BY seq) AS brier
FROM judged
GROUP BY arena, critic
ORDER BY arena, critic;
