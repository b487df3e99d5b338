-- The champion and its first parents, nearest first.
WITH RECURSIVE posted AS MATERIALIZED (
    SELECT proposal, parents[1] AS parent FROM internal.proposed WHERE arena = {arena}
),
chain AS (
    SELECT proposal, 0 AS depth FROM champions WHERE arena = {arena} AND reigns
    UNION ALL
    SELECT p.parent, c.depth + 1
    FROM chain c
    JOIN posted p ON p.proposal = c.proposal
    WHERE p.parent IS NOT NULL AND c.depth < 400
)
SELECT
    c.proposal, p.title, p.author, p.origin, p.origin_name, p.rationale, p.commit, p.parents,
    CAST(f.body->'$.knobs' AS VARCHAR), p.state
FROM chain c
JOIN internal.verdicts p ON p.arena = {arena} AND p.proposal = c.proposal
JOIN internal.facts f ON f.arena = {arena} AND f.seq = p.seq
ORDER BY c.depth;
