-- The runs that are not finished or replaced, and the last 200 requests of known proposals, which `mesh.stalled` looks at: among the
-- last 2000 requests where these have as many, else among all.
SELECT run FROM internal.requested ANTI JOIN internal.finished USING (arena, run)
WHERE arena = {arena}
    AND run NOT IN (SELECT instead_of FROM internal.requested WHERE arena = {arena} AND instead_of IS NOT NULL)
UNION ALL
SELECT run FROM (
    SELECT run FROM internal.requested r
    WHERE arena = {arena}
        AND seq >= (
            SELECT CASE WHEN count(*) >= 200 THEN min(seq) ELSE 0 END
            FROM (SELECT seq, proposal FROM internal.requested WHERE arena = {arena} ORDER BY seq DESC LIMIT 2000)
            WHERE proposal IN (SELECT proposal FROM internal.proposed WHERE arena = {arena}))
        AND EXISTS (SELECT 1 FROM internal.proposed p WHERE p.arena = r.arena AND p.proposal = r.proposal)
    ORDER BY seq DESC
    LIMIT 200)
