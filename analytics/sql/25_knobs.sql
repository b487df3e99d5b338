-- One row per proposal and knob: the value that the proposal's files give it, whether it was changed or not. Facts of
-- before they carried all values say only what changed.
CREATE OR REPLACE VIEW knobs AS
WITH said AS (
    SELECT arena, seq, key AS proposal, body FROM internal.facts WHERE kind = 'proposal.posted'
),
files AS (
    SELECT s.arena, s.seq, s.proposal, f.key AS file, f.value AS inside
    FROM said s, json_each(s.body, '$.values') f
),
found AS (
    SELECT f.arena, f.seq, f.proposal, f.file, k.key AS name, k.value->>'$' AS value, k.id AS place
    FROM files f, json_each(f.inside) k
    UNION ALL
    SELECT c.arena, c.seq, c.proposal, c.file, c.name, c.new, 0
    FROM changes c
    WHERE c.new IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM files f WHERE f.arena = c.arena AND f.seq = c.seq)
)
SELECT arena, proposal, file, name, value, try_cast(value AS DOUBLE) AS number, seq
FROM found
ORDER BY arena, seq, file, place, name;
