-- The proposals that have a score, by the rule of `mesh/leaderboard.py`: the champion, then the rows of the ranking class,
-- in a class those with fresh scores by the worse bound of their interval (few seeds make a mean that luck has a share in),
-- then claims; best first in the arena's direction, equals in the order of the log. Where no row of an arena has an
-- interval, only means count. Words are joined to the ranks at the end: sorting them with the numbers takes half as long
-- again.
CREATE OR REPLACE VIEW leaderboard AS
WITH rated AS MATERIALIZED (
    SELECT * FROM standings
),
bounds AS (
    SELECT arena, count(low) > 0 AS bounded FROM rated GROUP BY arena
),
known AS (
    SELECT m.*, v.seq, v.state, b.bounded
    FROM rated m
    JOIN verdicts v ON v.arena = m.arena AND v.proposal = m.proposal
    JOIN bounds b ON b.arena = m.arena
),
ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY arena
            ORDER BY bounded AND state <> 'champion', bounded AND NOT ranks, bounded AND fresh = 0,
                sign * coalesce(CASE WHEN sign > 0 THEN low ELSE high END, mean) DESC, seq) AS rank
    FROM known
)
SELECT
    r.arena, r.rank, r.proposal, p.title, p.author, r.mean, r.seeds, r.best, r.worst,
    CASE
        WHEN r.state <> 'open' THEN r.state
        WHEN r.fresh > 0 THEN 'confirming'
        ELSE 'claimed'
    END AS state,
    p.origin, r.trial_s, r.self_reported, r.low, r.high, r.fresh, r.claimed, r.worker_class, r.budget_used_s
FROM ranked r
JOIN proposed p ON p.arena = r.arena AND p.seq = r.seq
ORDER BY r.arena, r.rank;
