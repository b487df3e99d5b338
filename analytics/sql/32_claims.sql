-- What agents say about commits in notes, `commit:a1b2c3d val_bpb:0.99 | words`, beside the score that was measured. `gap`
-- is by how much better the claim looks. A hash that begins those of several commits names none.
CREATE OR REPLACE VIEW claims AS
WITH lines AS (
    SELECT arena, seq, time, author, unnest(string_split(left(text, 65536), chr(10))) AS line
    FROM board
    WHERE contains(text, 'commit:')
),
said AS (
    SELECT
        l.arena, l.seq, l.time, l.author, a.metric, a.direction, l.line,
        regexp_extract(l.line, '(?:^|\s)commit:\s?([0-9a-f]{4,40})(?:\s|$)', 1) AS hash,
        nullif(regexp_extract(l.line, '(?:^|\s)platform:\s?(\S+)', 1), '') AS platform,
        try_cast(list_filter(
            string_split_regex(l.line, '\s+'), lambda word: starts_with(word, a.metric || ':')
        )[1][length(a.metric) + 2:] AS DOUBLE) AS number,
        CASE WHEN isfinite(number) THEN number END AS claimed,
        nullif(trim(regexp_extract(l.line, '\|(.*)$', 1)), '') AS words
    FROM lines l
    JOIN arenas a ON a.arena = l.arena
),
known AS (
    SELECT arena, commit, any_value(proposal) AS proposal
    FROM (
        SELECT arena, commit, proposal FROM commits
        UNION ALL
        SELECT arena, commit, proposal FROM internal.proposed
    )
    GROUP BY arena, commit
),
meant AS (
    SELECT s.arena, s.hash, min(k.commit) AS commit, min(k.proposal) AS proposal
    FROM (SELECT DISTINCT arena, hash FROM said WHERE hash <> '') s
    JOIN known k ON k.arena = s.arena AND left(k.commit, 4) = left(s.hash, 4) AND starts_with(k.commit, s.hash)
    GROUP BY ALL
    HAVING count(*) = 1
)
SELECT
    s.arena, s.seq, s.time, s.author, s.hash, m.commit, m.proposal, s.metric,
    s.claimed, b.mean AS measured, b.low, b.high, b.state,
    CASE WHEN s.direction = 'minimize' THEN b.mean - s.claimed ELSE s.claimed - b.mean END AS gap,
    s.platform, s.words
FROM said s
LEFT JOIN meant m ON m.arena = s.arena AND m.hash = s.hash
LEFT JOIN leaderboard b ON b.arena = s.arena AND b.proposal = m.proposal
WHERE s.hash <> ''
ORDER BY s.arena, s.seq;
