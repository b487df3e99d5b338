-- The sequences of the facts of an excerpt of a board: openings, members, champions, what is ruled out, and the failed calls
-- of models since the last usable answer; the proposals of `trees` with their runs and critiques, those of `relatives`
-- without them, and the runs of `runs` and `queue`.
WITH opened AS (
    SELECT base_tree, ruled_out FROM internal.opened WHERE arena = {arena}
),
promoted AS (
    SELECT proposal FROM internal.judged WHERE arena = {arena} AND verdict = 'promoted'
),
rulings AS (
    SELECT seq, target FROM internal.criticised WHERE arena = {arena} AND ruling IS NOT NULL
),
usable AS (
    SELECT author, max(seq) AS seq FROM (
        SELECT author, seq FROM internal.proposed WHERE arena = {arena}
        UNION ALL SELECT author, seq FROM internal.criticised WHERE arena = {arena} AND costs)
    GROUP BY author
),
trees AS (
    SELECT proposal FROM ({trees})
),
named_runs AS (
    SELECT run FROM ({runs}) UNION SELECT run FROM ({queue})
),
known AS (
    SELECT proposal FROM promoted
    UNION SELECT base_tree FROM opened
    UNION SELECT unnest(ruled_out) FROM opened
    UNION SELECT target FROM rulings
    UNION SELECT proposal FROM trees
    UNION SELECT proposal FROM ({relatives})
    UNION SELECT proposal FROM internal.requested WHERE arena = {arena} AND run IN (SELECT run FROM named_runs)
),
known_runs AS (
    SELECT run FROM named_runs
    UNION SELECT run FROM internal.requested WHERE arena = {arena} AND proposal IN (SELECT proposal FROM trees)
)
SELECT seq FROM internal.posts
WHERE arena = {arena} AND decoded
    AND kind IN ('arena.opened', 'arena.closed', 'agent.joined', 'agent.left', 'worker.joined', 'worker.left')
UNION SELECT seq FROM internal.proposed WHERE arena = {arena} AND proposal IN (SELECT proposal FROM known)
UNION SELECT seq FROM internal.judged WHERE arena = {arena} AND proposal IN (SELECT proposal FROM known)
UNION SELECT seq FROM rulings
UNION SELECT seq FROM internal.criticised
    WHERE arena = {arena} AND target IN (SELECT proposal FROM trees UNION ALL SELECT run FROM ({runs}))
UNION SELECT seq FROM internal.requested WHERE arena = {arena} AND run IN (SELECT run FROM known_runs)
UNION SELECT seq FROM internal.started WHERE arena = {arena} AND run IN (SELECT run FROM known_runs)
UNION SELECT seq FROM internal.finished WHERE arena = {arena} AND run IN (SELECT run FROM known_runs)
UNION SELECT seq FROM internal.posts
    WHERE arena = {arena} AND counts AND kind = 'run.killed' AND key IN (SELECT run FROM known_runs)
UNION SELECT p.seq FROM internal.posts p
LEFT JOIN usable u ON u.author = p.author
WHERE p.arena = {arena} AND p.counts AND p.kind = 'model.asked' AND p.seq > coalesce(u.seq, 0)
