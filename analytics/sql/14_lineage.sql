-- One row per edge from a proposal to a parent; gain is positive where the proposal is better than the parent, and null
-- where their scores are of different worker classes. It is always the difference of the means. Commands compare runs side
-- by side where seeds share something (`mesh/paired.py`), which needs all fresh scores at once: `common_seeds`, the seeds
-- on which both have a fresh score in that class, says where that may be another number.
CREATE OR REPLACE VIEW lineage AS
WITH means AS MATERIALIZED (
    SELECT arena, proposal, mean, sign, worker_class FROM internal.standings
),
fresh AS MATERIALIZED (
    SELECT DISTINCT arena, proposal, worker_class, seed FROM internal.scored WHERE fresh
),
edges AS (
    SELECT arena, proposal, seq, title, author, origin, unnest(parents) AS parent FROM internal.proposed
),
common AS (
    SELECT e.arena, e.proposal, e.parent, f.worker_class, count(DISTINCT f.seed) AS seeds
    FROM fresh f
    JOIN edges e ON e.arena = f.arena AND e.proposal = f.proposal
    JOIN fresh o ON o.arena = f.arena AND o.proposal = e.parent AND o.worker_class = f.worker_class AND o.seed = f.seed
    GROUP BY ALL
)
SELECT
    e.arena, e.proposal, e.parent, e.title, e.author, e.origin, p.title AS parent_title, p.author AS parent_author,
    m.mean, q.mean AS parent_mean, CASE WHEN m.worker_class = q.worker_class THEN m.sign * (m.mean - q.mean) END AS gain,
    coalesce(c.seeds, 0) AS common_seeds
FROM edges e
LEFT JOIN internal.proposed p ON p.arena = e.arena AND p.proposal = e.parent
LEFT JOIN means m ON m.arena = e.arena AND m.proposal = e.proposal
LEFT JOIN means q ON q.arena = e.arena AND q.proposal = e.parent
LEFT JOIN common c
    ON c.arena = e.arena AND c.proposal = e.proposal AND c.parent = e.parent AND c.worker_class = m.worker_class
    AND m.worker_class = q.worker_class
ORDER BY e.arena, e.seq;
