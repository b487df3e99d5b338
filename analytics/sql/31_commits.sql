-- The git commits that agents of others have pushed, in the order of the log; `proposal` is what their editable files are.
CREATE OR REPLACE VIEW commits AS
SELECT
    arena, seq, time, author, key AS commit, body->>'$.tree' AS tree,
    coalesce(try_cast(body->'$.parents' AS VARCHAR[]), []) AS parents,
    body->>'$.message' AS message,
    make_timestamp(least(coalesce(try_cast(body->>'$.at' AS BIGINT), 0), 32503679999) * 1000000) AS made_at,
    try_cast(body->>'$.bytes' AS BIGINT) AS bytes, nullif(body->>'$.proposal', '') AS proposal
FROM internal.facts
WHERE kind = 'commit.pushed'
ORDER BY arena, seq;
