-- The proposals and runs whose names start with a word.
SELECT 'proposal' AS kind, proposal AS name FROM internal.proposed
WHERE arena = {arena} AND (starts_with(proposal, {word}) OR starts_with(commit, {word}))
UNION ALL
SELECT 'run', run FROM internal.requested WHERE arena = {arena} AND starts_with(run, {word})
LIMIT {most}
