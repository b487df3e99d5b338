-- One row per arena: the spread of scores of one proposal over its seeds, pooled over proposals with two or more.
CREATE OR REPLACE VIEW noise AS
WITH spread AS (
    SELECT arena, proposal, count(*) AS runs, var_samp(value ORDER BY finished_seq) AS variance
    FROM scores
    GROUP BY ALL
    HAVING count(*) > 1
)
SELECT
    arena, count(*) AS proposals, sum(runs)::BIGINT AS runs, sum(runs - 1)::BIGINT AS degrees_of_freedom,
    sqrt(sum((runs - 1) * variance ORDER BY proposal) / sum(runs - 1)) AS sd
FROM spread
GROUP BY arena
ORDER BY arena;
