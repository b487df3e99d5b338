-- The latest proposals of an agent.
SELECT proposal FROM internal.proposed WHERE arena = {arena} AND author = {author} ORDER BY seq DESC LIMIT {count}
