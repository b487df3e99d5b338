-- The proposals with runs that prove.
SELECT proposal FROM internal.requested WHERE arena = {arena} AND lane IN ('confirm', 'control')
