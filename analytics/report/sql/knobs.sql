-- The knobs that search turned, and how often what they were turned in became champion.
WITH turned AS (
    SELECT key AS proposal, unnest(from_json(body->'$.knobs', '[{"file": "VARCHAR", "name": "VARCHAR"}]')) AS knob
    FROM internal.facts
    WHERE arena = {arena} AND kind = 'proposal.posted'
),
reigned AS (
    SELECT DISTINCT proposal FROM champions WHERE arena = {arena}
)
SELECT t.knob.file, t.knob.name, count(*), count(r.proposal)
FROM turned t
LEFT JOIN reigned r USING (proposal)
GROUP BY ALL
ORDER BY count(r.proposal), count(*) DESC, 1, 2;
