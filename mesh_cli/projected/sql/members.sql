-- The agents and workers of a name, with the id of each life.
SELECT split_part(kind, '.', 1) AS kind, key AS boot
FROM internal.posts
WHERE arena = {arena} AND decoded AND kind IN ('agent.joined', 'worker.joined') AND author = {author}
