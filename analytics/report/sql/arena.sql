-- What the arena is, how far its log goes, and what it was given to begin with.
SELECT
    a.summary, a.metric, a.sign, a.noise = 'none', a.version, a.evaluator, a.base_tree,
    o.body->>'$.base_commit', a.state, a.closed_because, l.head, l.last_at, epoch(l.last_at - a.opened_at),
    (o.body->>'$.spec.selection.proof_share')::DOUBLE,
    epoch(l.last_at - (SELECT min(time) FROM internal.opened WHERE arena = {arena}))
FROM arenas a
JOIN internal.facts o ON o.arena = a.arena AND o.kind = 'arena.opened' AND o.key = a.version::VARCHAR
JOIN (SELECT arena, max(seq) AS head, max(time) AS last_at FROM internal.facts GROUP BY arena) l ON l.arena = a.arena
WHERE a.arena = {arena};
