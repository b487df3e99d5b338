-- The reigns.
SELECT
    c.seq, c.proposal, p.title, p.author, p.origin, p.origin_name, p.state,
    try_cast(f.body->>'$.p_better' AS DOUBLE), c.met
FROM champions c
JOIN proposals p USING (arena, proposal)
JOIN internal.facts f ON f.arena = c.arena AND f.seq = c.seq
WHERE c.arena = {arena}
ORDER BY c.reign;
