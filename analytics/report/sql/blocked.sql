-- Which rules of critics kept proposals from being run.
SELECT body->>'$.rule' AS rule, count(*)
FROM internal.facts
WHERE arena = {arena} AND kind = 'critique.posted' AND body->>'$.verdict' = 'block'
GROUP BY ALL
ORDER BY count(*) DESC, 1;
