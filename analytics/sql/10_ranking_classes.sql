-- One row per arena with a score: the worker class whose rows come first on the leaderboard. It is that in which the
-- champion has most fresh scores, of equals most scores; where the champion has none, that with most scores of all.
CREATE OR REPLACE VIEW internal.ranking_classes AS
WITH of_champion AS (
    SELECT s.arena, s.worker_class, count(*) AS scores, count(*) FILTER (s.fresh) AS fresh
    FROM internal.scored s
    JOIN champions c ON c.reigns AND c.arena = s.arena AND c.proposal = s.proposal
    GROUP BY ALL
),
of_all AS (
    SELECT arena, worker_class, count(*) AS scores FROM internal.scored GROUP BY ALL
)
SELECT a.arena, a.worker_class
FROM of_all a
LEFT JOIN of_champion c ON c.arena = a.arena AND c.worker_class = a.worker_class
QUALIFY row_number() OVER (
    PARTITION BY a.arena
    ORDER BY c.scores IS NULL, c.fresh DESC, coalesce(c.scores, a.scores) DESC, a.worker_class) = 1;
