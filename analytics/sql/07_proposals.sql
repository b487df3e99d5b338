-- One row per proposal: its verdict, its runs and the critiques of it. `share` is the probability with which its sampler
-- was drawn; `staleness` counts the events between the last one that its author knew (`as_of`) and the end of its first
-- run: what it could not learn from. Both are NULL where the author does not say.
CREATE OR REPLACE VIEW proposals AS
WITH spoken AS (
    SELECT
        arena, target AS proposal,
        count(*) FILTER (verdict = 'endorse') AS endorsed,
        count(*) FILTER (verdict = 'warn') AS warned,
        count(*) FILTER (verdict = 'block') AS blocked
    FROM internal.criticised
    GROUP BY ALL
),
ran AS (
    SELECT r.arena, r.proposal, count(*) AS runs, count(*) FILTER (f.how = 'scored') AS scored,
        min(f.seq) AS result_seq
    FROM internal.requested r
    LEFT JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run AND f.seq > r.seq
    GROUP BY ALL
)
SELECT
    v.arena, v.proposal, v.seq, v.time, v.author, v.title, v.rationale, v.commit, v.origin, v.origin_name, v.parents,
    v.predicted_gain, v.confidence, v.state, v.why, v.promoted_at,
    coalesce(n.runs, 0) AS runs, coalesce(n.scored, 0) AS scored,
    coalesce(j.endorsed, 0) AS endorsed, coalesce(j.warned, 0) AS warned, coalesce(j.blocked, 0) AS blocked,
    v.share, n.result_seq - nullif(v.as_of, 0) - 1 AS staleness, v.ruled_out
FROM internal.verdicts v
LEFT JOIN spoken j ON j.arena = v.arena AND j.proposal = v.proposal
LEFT JOIN ran n ON n.arena = v.arena AND n.proposal = v.proposal;
