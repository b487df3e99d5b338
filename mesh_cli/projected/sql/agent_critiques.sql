-- The verdicts of a critic on what was known when it spoke.
SELECT verdict AS word, count(*) AS count
FROM internal.criticised c
WHERE arena = {arena} AND author = {author} AND (
    EXISTS (SELECT 1 FROM internal.proposed p WHERE p.arena = c.arena AND p.proposal = c.target AND p.seq < c.seq)
    OR EXISTS (SELECT 1 FROM internal.requested r WHERE r.arena = c.arena AND r.run = c.target AND r.seq < c.seq))
GROUP BY verdict
