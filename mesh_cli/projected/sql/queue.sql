-- The runs that are not finished, and the last 200 requests of known proposals, which `mesh.stalled` looks at.
SELECT run FROM internal.requested ANTI JOIN internal.finished USING (arena, run) WHERE arena = {arena}
UNION ALL
SELECT run FROM (
    SELECT run FROM internal.requested r
    WHERE arena = {arena} AND EXISTS (SELECT 1 FROM internal.proposed p WHERE p.arena = r.arena AND p.proposal = r.proposal)
    ORDER BY seq DESC
    LIMIT 200)
