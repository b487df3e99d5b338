-- Starts and finishes that do not count because of who posted them, by author.
SELECT author, kind, count(*)
FROM not_counted
WHERE arena = {arena} AND why LIKE 'its author %'
GROUP BY ALL
ORDER BY count(*) DESC, 1, 2;
