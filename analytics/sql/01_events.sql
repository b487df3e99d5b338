-- Every post of every log, also repeated facts and what nobody could decode: that has a raw text instead of a body.
CREATE OR REPLACE VIEW events AS
SELECT
    arena, seq, time, posted_at, id, author, kind, key, cause, decoded,
    CASE WHEN decoded THEN body END AS body, CASE WHEN NOT decoded THEN body END AS raw
FROM internal.posts;
