-- One row per proposal: what it is, and what became of it: open, champion, past_champion, demoted or retired (with why);
-- ruled_out while the version in force fixes what it changed, with a sentence in `ruled_out`.
-- Who never was champion is retired by the first retirement; who was, is demoted by one that came after its last reign.
-- `close` is true of a proposal that was retired although it is better than the champion with a probability of 0.8 or more.
CREATE OR REPLACE VIEW internal.verdicts AS
WITH ruled AS (
    SELECT
        arena, proposal, reigns, promoted_at,
        CASE WHEN reigns THEN NULL ELSE ended END AS ended
    FROM (
        SELECT arena, proposal, bool_or(reigns) AS reigns, min(since) AS promoted_at, max(until_seq) AS ended
        FROM champions
        GROUP BY ALL
    )
),
retired AS (
    SELECT
        j.arena, j.proposal,
        bool_or(j.why = 'demoted' AND j.seq > c.ended) AS demoted,
        arg_min(j.why, j.seq) FILTER (j.why <> 'demoted') AS why,
        arg_min(j.why = 'not_better' AND coalesce(j.p_better, 0) >= 0.8, j.seq) FILTER (j.why <> 'demoted') AS close
    FROM internal.judged j
    JOIN internal.proposed p ON p.arena = j.arena AND p.proposal = j.proposal AND p.seq < j.seq
    LEFT JOIN ruled c ON c.arena = j.arena AND c.proposal = j.proposal
    WHERE j.verdict = 'retired'
    GROUP BY ALL
)
SELECT
    p.*,
    CASE
        WHEN o.proposal IS NOT NULL THEN 'ruled_out'
        WHEN c.reigns THEN 'champion'
        WHEN r.demoted THEN 'demoted'
        WHEN c.proposal IS NOT NULL THEN 'past_champion'
        WHEN r.why IS NOT NULL THEN 'retired'
        ELSE 'open'
    END AS state,
    CASE WHEN r.demoted THEN 'demoted' WHEN c.proposal IS NULL THEN r.why END AS why,
    c.promoted_at, c.proposal IS NULL AND o.proposal IS NULL AND coalesce(r.close, false) AS close,
    o.text AS ruled_out
FROM internal.proposed p
LEFT JOIN ruled c ON c.arena = p.arena AND c.proposal = p.proposal
LEFT JOIN retired r ON r.arena = p.arena AND r.proposal = p.proposal
LEFT JOIN internal.ruled_out o ON o.arena = p.arena AND o.proposal = p.proposal AND o.until_seq = 9223372036854775807;
