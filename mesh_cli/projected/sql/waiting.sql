-- The proposals whose names start with a word and that wait for their first result.
SELECT proposal FROM internal.proposed
WHERE arena = {arena} AND (starts_with(proposal, {word}) OR starts_with(commit, {word}))
    AND proposal NOT IN (SELECT proposal FROM internal.judged WHERE arena = {arena})
    AND proposal NOT IN (
        SELECT r.proposal
        FROM internal.requested r
        JOIN internal.finished f ON f.arena = r.arena AND f.run = r.run
        WHERE r.arena = {arena})
LIMIT {most}
