-- The proposals that have a score, best mean first in the arena's direction. Floating-point sums depend on the order of
-- their terms: here and in other views it is the log's, so that a replay gives the same numbers to the last bit.
CREATE OR REPLACE VIEW leaderboard AS
WITH means AS (
    SELECT
        arena, proposal, any_value(sign) AS sign, avg(value ORDER BY finished_seq) AS mean, count(*) AS seeds,
        CASE WHEN any_value(sign) > 0 THEN max(value) ELSE min(value) END AS best,
        CASE WHEN any_value(sign) > 0 THEN min(value) ELSE max(value) END AS worst,
        avg(trial_s ORDER BY finished_seq) AS trial_s, bool_or(self_reported) AS self_reported
    FROM scores
    GROUP BY ALL
)
SELECT
    m.arena, row_number() OVER (PARTITION BY m.arena ORDER BY m.sign * m.mean DESC, p.seq) AS rank,
    m.proposal, p.title, p.author, m.mean, m.seeds, m.best, m.worst, p.state, p.origin, m.trial_s, m.self_reported
FROM means m
JOIN proposals p USING (arena, proposal)
ORDER BY m.arena, rank;
