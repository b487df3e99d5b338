-- The proposals that have a score: the champion, then those with fresh scores by the bound of their interval (few seeds
-- make a mean that luck has a share in), then claims; best first in the arena's direction. Fresh are the
-- scores of the lanes confirm and control, of the artifact as it was, and all of an exact metric; `mean` is theirs alone,
-- with a 95 % interval by the pooled noise of the arena (normal approximation). A proposal without any has only a claim.
-- Floating-point sums depend on the order of their terms: here and in other views it is the log's, so that a replay gives
-- the same numbers to the last bit.
CREATE OR REPLACE VIEW leaderboard AS
WITH marked AS (
    SELECT s.*, a.noise = 'none' OR s.lane IN ('confirm', 'control') OR s.proposal = a.base_tree AS fresh
    FROM scores s
    JOIN arenas a USING (arena)
),
means AS (
    SELECT
        arena, proposal, any_value(sign) AS sign,
        avg(value ORDER BY finished_seq) FILTER (fresh) AS proven,
        avg(value ORDER BY finished_seq) FILTER (NOT fresh) AS claimed,
        count(*) FILTER (fresh) AS fresh, count(*) AS scores,
        CASE WHEN any_value(sign) > 0 THEN max(value) ELSE min(value) END AS best,
        CASE WHEN any_value(sign) > 0 THEN min(value) ELSE max(value) END AS worst,
        avg(trial_s ORDER BY finished_seq) AS trial_s, bool_or(self_reported) AS self_reported
    FROM marked
    GROUP BY ALL
),
spread AS (
    SELECT arena, proposal, count(*) AS runs, var_samp(value ORDER BY finished_seq) AS variance
    FROM marked
    WHERE fresh
    GROUP BY ALL
    HAVING count(*) > 1
),
pooled AS (
    SELECT arena, sqrt(sum((runs - 1) * variance ORDER BY proposal) / sum(runs - 1)) AS sd FROM spread GROUP BY arena
)
SELECT
    m.arena,
    row_number() OVER (
        PARTITION BY m.arena
        ORDER BY p.state <> 'champion', m.fresh = 0,
            m.sign * coalesce(m.proven, m.claimed) - coalesce(1.96 * n.sd / sqrt(m.fresh), 0) DESC, p.seq) AS rank,
    m.proposal, p.title, p.author, coalesce(m.proven, m.claimed) AS mean,
    CASE WHEN m.fresh > 0 THEN m.fresh ELSE m.scores END AS seeds, m.best, m.worst,
    CASE
        WHEN p.state <> 'open' THEN p.state
        WHEN m.fresh > 0 THEN 'confirming'
        ELSE 'claimed'
    END AS state,
    p.origin, m.trial_s, m.self_reported,
    m.proven - 1.96 * n.sd / sqrt(m.fresh) AS low, m.proven + 1.96 * n.sd / sqrt(m.fresh) AS high,
    m.fresh, m.claimed
FROM means m
JOIN proposals p USING (arena, proposal)
LEFT JOIN pooled n USING (arena)
ORDER BY m.arena, rank;
