-- One row per critic: its verdicts on proposals, and how they compare with what became of them.
CREATE OR REPLACE VIEW critics AS
WITH words AS (
    SELECT
        arena, seq, author AS critic, body->>'$.target' AS proposal, body->>'$.verdict' AS verdict,
        try_cast(body->>'$.predicted' AS DOUBLE) AS predicted
    FROM facts
    WHERE kind = 'critique.posted'
)
SELECT
    w.arena, w.critic, count(*) AS critiques,
    count(*) FILTER (w.verdict = 'endorse') AS endorsed,
    count(*) FILTER (w.verdict = 'warn') AS warned,
    count(*) FILTER (w.verdict = 'block') AS blocked,
    count(*) FILTER (w.verdict = 'endorse' AND p.state IN ('champion', 'past_champion')) AS endorsed_champions,
    count(*) FILTER (w.verdict = 'block' AND p.state IN ('champion', 'past_champion')) AS blocked_champions,
    count(*) FILTER (w.verdict = 'endorse' AND p.state = 'retired') AS endorsed_retired,
    count(w.predicted) FILTER (m.mean IS NOT NULL) AS predictions,
    avg(abs(w.predicted - m.mean) ORDER BY w.seq) AS mean_error
FROM words w
LEFT JOIN proposals p USING (arena, proposal)
LEFT JOIN leaderboard m USING (arena, proposal)
GROUP BY w.arena, w.critic
ORDER BY w.arena, w.critic;
