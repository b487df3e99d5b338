-- One row per edge from a proposal to a parent; gain is positive where the proposal is better than the parent, and null
-- where their scores are of different worker classes. It is the difference of the means: what runs side by side say, needs
-- all fresh scores at once (`mesh/paired.py`), and commands say it.
CREATE OR REPLACE VIEW lineage AS
WITH means AS MATERIALIZED (
    SELECT arena, proposal, mean, sign, worker_class FROM internal.standings
),
edges AS (
    SELECT arena, proposal, seq, title, author, origin, unnest(parents) AS parent FROM internal.proposed
)
SELECT
    e.arena, e.proposal, e.parent, e.title, e.author, e.origin, p.title AS parent_title, p.author AS parent_author,
    m.mean, q.mean AS parent_mean, CASE WHEN m.worker_class = q.worker_class THEN m.sign * (m.mean - q.mean) END AS gain
FROM edges e
LEFT JOIN internal.proposed p ON p.arena = e.arena AND p.proposal = e.parent
LEFT JOIN means m ON m.arena = e.arena AND m.proposal = e.proposal
LEFT JOIN means q ON q.arena = e.arena AND q.proposal = e.parent
ORDER BY e.arena, e.seq;
