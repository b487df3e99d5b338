-- The first proposals of a log.
SELECT proposal FROM internal.proposed WHERE arena = {arena} ORDER BY seq LIMIT {count}
