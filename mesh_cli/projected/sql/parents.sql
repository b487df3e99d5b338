-- The parents of proposals.
SELECT unnest(parents) AS proposal FROM internal.proposed WHERE arena = {arena} AND proposal IN (SELECT proposal FROM ({trees}))
