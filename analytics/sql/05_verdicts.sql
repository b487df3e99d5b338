-- One row per proposal: what it is, and what became of it: open, champion, past_champion, demoted or retired (with why).
CREATE OR REPLACE VIEW verdicts AS
WITH reigned AS (
    SELECT arena, proposal, bool_or(reigns) AS reigns, min(since) AS promoted_at FROM champions GROUP BY ALL
),
retired AS (
    SELECT j.arena, j.proposal, arg_min(j.why, j.seq) AS why
    FROM judged j
    JOIN proposed p ON p.arena = j.arena AND p.proposal = j.proposal AND p.seq < j.seq
    WHERE j.verdict = 'retired'
    GROUP BY ALL
)
SELECT
    p.*,
    CASE
        WHEN c.reigns THEN 'champion'
        WHEN r.why = 'demoted' THEN 'demoted'
        WHEN c.proposal IS NOT NULL THEN 'past_champion'
        WHEN r.proposal IS NOT NULL THEN 'retired'
        ELSE 'open'
    END AS state,
    CASE WHEN c.proposal IS NULL OR (r.why = 'demoted' AND NOT c.reigns) THEN r.why END AS why,
    c.promoted_at
FROM proposed p
LEFT JOIN reigned c ON c.arena = p.arena AND c.proposal = p.proposal
LEFT JOIN retired r ON r.arena = p.arena AND r.proposal = p.proposal;
