-- One row per arena: what its latest opening says, and whether it was closed since.
CREATE OR REPLACE VIEW arenas AS
WITH opened AS (
    SELECT *, try_cast(body->>'$.version' AS BIGINT) AS version
    FROM internal.facts
    WHERE kind = 'arena.opened'
    QUALIFY row_number() OVER (PARTITION BY arena ORDER BY version DESC, seq DESC) = 1
)
SELECT
    o.arena, o.version, o.time AS opened_at, o.author AS opened_by,
    o.body->>'$.spec.summary' AS summary,
    o.body->>'$.spec.objective.metric' AS metric,
    o.body->>'$.spec.objective.direction' AS direction,
    CASE WHEN o.body->>'$.spec.objective.direction' = 'maximize' THEN 1 ELSE -1 END AS sign,
    o.body->>'$.spec.objective.noise' AS noise,
    o.body->>'$.evaluator' AS evaluator,
    o.body->>'$.base_tree' AS base_tree,
    CASE WHEN c.seq IS NULL THEN 'open' ELSE 'closed' END AS state,
    c.time AS closed_at, c.body->>'$.reason' AS closed_because
FROM opened o
LEFT JOIN internal.facts c
    ON c.kind = 'arena.closed' AND c.arena = o.arena AND c.seq > o.seq
    AND try_cast(c.body->>'$.version' AS BIGINT) = o.version;
