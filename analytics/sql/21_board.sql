-- The message board: the notes, in the order of the log.
CREATE OR REPLACE VIEW board AS
SELECT
    arena, seq, time, author, body->>'$.channel' AS channel, body->>'$.text' AS text,
    try_cast(body->>'$.reply_to' AS BIGINT) AS reply_to
FROM internal.facts
WHERE kind = 'note.posted'
ORDER BY arena, seq;
