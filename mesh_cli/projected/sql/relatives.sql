-- The parents and the children of proposals.
SELECT unnest(parents) AS proposal FROM internal.proposed WHERE arena = {arena} AND proposal IN (SELECT proposal FROM ({trees}))
UNION ALL
SELECT proposal FROM internal.proposed
WHERE arena = {arena} AND list_has_any(parents, (SELECT list(proposal) FROM ({trees}) WHERE proposal IS NOT NULL))
