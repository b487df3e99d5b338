-- One row per proposal and what became of it: open, champion, past_champion, demoted or retired (with why).
CREATE OR REPLACE VIEW proposals AS
WITH reigned AS (
    SELECT arena, proposal, bool_or(reigns) AS reigns, min(since) AS promoted_at FROM champions GROUP BY ALL
),
retired AS (
    SELECT f.arena, f.body->>'$.proposal' AS proposal, arg_min(f.body->>'$.why', f.seq) AS why
    FROM facts f
    JOIN facts p ON p.kind = 'proposal.posted' AND p.arena = f.arena
        AND p.key = f.body->>'$.proposal' AND p.seq < f.seq
    WHERE f.kind = 'proposal.retired'
    GROUP BY ALL
),
judged AS (
    SELECT
        arena, body->>'$.target' AS proposal,
        count(*) FILTER (body->>'$.verdict' = 'endorse') AS endorsed,
        count(*) FILTER (body->>'$.verdict' = 'warn') AS warned,
        count(*) FILTER (body->>'$.verdict' = 'block') AS blocked
    FROM facts
    WHERE kind = 'critique.posted'
    GROUP BY ALL
),
ran AS (
    SELECT arena, proposal, count(*) AS runs, count(*) FILTER (state = 'scored') AS scored FROM runs GROUP BY ALL
)
SELECT
    p.arena, p.key AS proposal, p.seq, p.time, p.author,
    p.body->>'$.title' AS title, p.body->>'$.rationale' AS rationale, p.body->>'$.commit' AS commit,
    p.body->>'$.origin.how' AS origin, p.body->>'$.origin.name' AS origin_name,
    from_json(p.body->'$.parents', '["VARCHAR"]') AS parents,
    try_cast(p.body->>'$.predicted_gain' AS DOUBLE) AS predicted_gain,
    try_cast(p.body->>'$.confidence' AS DOUBLE) AS confidence,
    CASE
        WHEN c.reigns THEN 'champion'
        WHEN r.why = 'demoted' THEN 'demoted'
        WHEN c.proposal IS NOT NULL THEN 'past_champion'
        WHEN r.proposal IS NOT NULL THEN 'retired'
        ELSE 'open'
    END AS state,
    CASE WHEN c.proposal IS NULL OR (r.why = 'demoted' AND NOT c.reigns) THEN r.why END AS why,
    c.promoted_at,
    coalesce(n.runs, 0) AS runs, coalesce(n.scored, 0) AS scored,
    coalesce(j.endorsed, 0) AS endorsed, coalesce(j.warned, 0) AS warned, coalesce(j.blocked, 0) AS blocked
FROM facts p
LEFT JOIN reigned c ON c.arena = p.arena AND c.proposal = p.key
LEFT JOIN retired r ON r.arena = p.arena AND r.proposal = p.key
LEFT JOIN judged j ON j.arena = p.arena AND j.proposal = p.key
LEFT JOIN ran n ON n.arena = p.arena AND n.proposal = p.key
WHERE p.kind = 'proposal.posted';
