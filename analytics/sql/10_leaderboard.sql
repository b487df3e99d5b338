-- The proposals that have a score: the champion, then those with fresh scores by the bound of their interval (few seeds
-- make a mean that luck has a share in), then claims; best first in the arena's direction. Words are joined to the ranks
-- at the end: sorting them with the numbers takes half as long again.
CREATE OR REPLACE VIEW leaderboard AS
WITH ranked AS (
    SELECT
        m.*, v.seq, v.state,
        row_number() OVER (
            PARTITION BY m.arena
            ORDER BY v.state <> 'champion', m.fresh = 0,
                coalesce(CASE WHEN m.sign > 0 THEN m.low ELSE -m.high END, m.sign * m.mean) DESC, v.seq) AS rank
    FROM standings m
    JOIN verdicts v ON v.arena = m.arena AND v.proposal = m.proposal
)
SELECT
    r.arena, r.rank, r.proposal, p.title, p.author, r.mean, r.seeds, r.best, r.worst,
    CASE
        WHEN r.state <> 'open' THEN r.state
        WHEN r.fresh > 0 THEN 'confirming'
        ELSE 'claimed'
    END AS state,
    p.origin, r.trial_s, r.self_reported, r.low, r.high, r.fresh, r.claimed
FROM ranked r
JOIN proposed p ON p.arena = r.arena AND p.seq = r.seq
ORDER BY r.arena, r.rank;
