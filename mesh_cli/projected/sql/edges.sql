-- Every proposal with each of its parents, by the entries that posted them: names would be ten times as long.
SELECT list([e.seq, p.seq]) AS pairs
FROM (SELECT seq, unnest(parents) AS parent FROM internal.proposed WHERE arena = {arena}) e
JOIN internal.proposed p ON p.arena = {arena} AND p.proposal = e.parent
