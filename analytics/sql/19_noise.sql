-- One row per arena and worker class: the spread of scores of one proposal over its seeds, pooled over proposals with two
-- or more. Of chosen proposals only fresh scores count: the one by which a proposal was found is luckier than others.
CREATE OR REPLACE VIEW noise AS
WITH fresh AS (
    SELECT * FROM scores WHERE fresh
),
spread AS (
    SELECT arena, worker_class, proposal, count(*) AS runs, var_samp(value ORDER BY finished_seq) AS variance
    FROM fresh
    GROUP BY ALL
    HAVING count(*) > 1
)
SELECT
    arena, count(*) AS proposals, sum(runs)::BIGINT AS runs, sum(runs - 1)::BIGINT AS degrees_of_freedom,
    sqrt(sum((runs - 1) * variance ORDER BY proposal) / sum(runs - 1)) AS sd, worker_class
FROM spread
GROUP BY arena, worker_class
ORDER BY arena, worker_class;
