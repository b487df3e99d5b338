-- One row per edge from a proposal to a parent; gain is positive where the proposal is better than the parent.
CREATE OR REPLACE VIEW lineage AS
WITH edges AS (
    SELECT arena, proposal, seq, title, author, origin, unnest(parents) AS parent FROM proposed
)
SELECT
    e.arena, e.proposal, e.parent, e.title, e.author, e.origin, p.title AS parent_title, p.author AS parent_author,
    m.mean, q.mean AS parent_mean, m.sign * (m.mean - q.mean) AS gain
FROM edges e
LEFT JOIN proposed p ON p.arena = e.arena AND p.proposal = e.parent
LEFT JOIN standings m ON m.arena = e.arena AND m.proposal = e.proposal
LEFT JOIN standings q ON q.arena = e.arena AND q.proposal = e.parent
ORDER BY e.arena, e.seq;
