-- The reigns, and how many runs had finished when each began.
SELECT
    c.seq, c.proposal, p.title, p.author, p.origin, p.origin_name, p.state,
    j.p_better, c.met,
    (
        SELECT count(*)
        FROM internal.finished f
        JOIN internal.requested r ON r.arena = f.arena AND r.run = f.run AND r.seq < f.seq
        WHERE f.arena = {arena} AND f.seq <= c.seq)
FROM champions c
JOIN internal.verdicts p USING (arena, proposal)
JOIN internal.judged j ON j.arena = c.arena AND j.seq = c.seq
WHERE c.arena = {arena}
ORDER BY c.reign;
