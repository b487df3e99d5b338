-- Which rules of critics kept proposals from being run.
SELECT rule, count(*)
FROM internal.criticised
WHERE arena = {arena} AND verdict = 'block'
GROUP BY ALL
ORDER BY count(*) DESC, 1;
