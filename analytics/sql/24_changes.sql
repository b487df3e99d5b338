-- One row per constant that a proposal changed, as its author says: the parent's value and its own, as JSON.
CREATE OR REPLACE VIEW changes AS
WITH said AS (
    SELECT arena, seq, key AS proposal, unnest(from_json(body->'$.knobs', '["JSON"]')) AS knob
    FROM internal.facts
    WHERE kind = 'proposal.posted'
)
SELECT
    arena, proposal, knob->>'$.file' AS file, knob->>'$.name' AS name, knob->>'$.old' AS old, knob->>'$.new' AS new, seq
FROM said
ORDER BY arena, seq, file, name;
