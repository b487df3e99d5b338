-- The facts that count: of several with one key the first in the log; a critique counts once per critic.
CREATE OR REPLACE VIEW facts AS
SELECT p.arena, p.seq, p.time, p.posted_at, p.id, p.author, p.kind, p.key, p.cause,
    CASE WHEN p.decoded THEN p.body END AS body -- garbage must not reach the JSON functions, in whatever order
FROM posts p
JOIN (
    SELECT arena, kind, min(seq) AS seq
    FROM posts
    WHERE decoded
    GROUP BY arena, kind, key, CASE WHEN kind = 'critique.posted' THEN author ELSE '' END
) first USING (arena, kind, seq)
WHERE p.decoded;
