-- The proposals of an agent that were promoted, and the champions that they met.
SELECT unnest([j.proposal, j.met]) AS proposal
FROM internal.judged j
JOIN internal.proposed p ON p.arena = j.arena AND p.proposal = j.proposal
WHERE j.arena = {arena} AND j.verdict = 'promoted' AND p.author = {author}
