-- One row per call of a model: what it was for, what came of it, and what it cost. `mesh show SEQ` has its prompt and its
-- answer, as long as they are kept.
CREATE OR REPLACE VIEW model_calls AS
WITH said AS (
    SELECT
        arena, seq, time, author, kind, key, body,
        CASE kind
            WHEN 'proposal.posted' THEN 'proposal'
            WHEN 'critique.posted' THEN 'critique'
            ELSE 'unused'
        END AS became
    FROM internal.facts
    WHERE kind = 'model.asked'
        OR (kind IN ('proposal.posted', 'critique.posted') AND json_type(body, '$.cost') = 'OBJECT')
)
SELECT
    arena, seq, time, author, became,
    CASE WHEN became <> 'unused' THEN key END AS target,
    coalesce(body->>'$.purpose', split_part(body->>'$.title', ':', 1), 'critique') AS purpose,
    coalesce(body->>'$.model', body->>'$.origin.name') AS model,
    CASE WHEN became = 'unused' THEN body->>'$.text' END AS why,
    try_cast(body->>'$.cost.usd' AS DOUBLE) AS usd,
    try_cast(body->>'$.cost.tokens_in' AS BIGINT) AS tokens_in,
    try_cast(body->>'$.cost.tokens_out' AS BIGINT) AS tokens_out,
    try_cast(body->>'$.cost.seconds' AS DOUBLE) AS seconds,
    try_cast(body->>'$.call.prompt_bytes' AS BIGINT) AS prompt_bytes,
    try_cast(body->>'$.call.answer_bytes' AS BIGINT) AS answer_bytes
FROM said
ORDER BY arena, seq;
