-- The reigns.
SELECT
    c.seq, c.proposal, p.title, p.author, p.origin, p.origin_name, p.state,
    j.p_better, c.met
FROM champions c
JOIN internal.verdicts p USING (arena, proposal)
JOIN internal.judged j ON j.arena = c.arena AND j.seq = c.seq
WHERE c.arena = {arena}
ORDER BY c.reign;
