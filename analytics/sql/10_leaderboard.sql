-- The proposals that have a score: the champion, then those with fresh scores by the bound of their interval (few seeds
-- make a mean that luck has a share in), then claims; best first in the arena's direction.
CREATE OR REPLACE VIEW leaderboard AS
SELECT
    m.arena,
    row_number() OVER (
        PARTITION BY m.arena
        ORDER BY v.state <> 'champion', m.fresh = 0,
            coalesce(CASE WHEN m.sign > 0 THEN m.low ELSE -m.high END, m.sign * m.mean) DESC, v.seq) AS rank,
    m.proposal, v.title, v.author, m.mean, m.seeds, m.best, m.worst,
    CASE
        WHEN v.state <> 'open' THEN v.state
        WHEN m.fresh > 0 THEN 'confirming'
        ELSE 'claimed'
    END AS state,
    v.origin, m.trial_s, m.self_reported, m.low, m.high, m.fresh, m.claimed
FROM standings m
JOIN verdicts v ON v.arena = m.arena AND v.proposal = m.proposal
ORDER BY m.arena, rank;
