-- Starts and finishes that do not count because of who posted them, by author.
SELECT author, kind, count(*)
FROM not_counted
WHERE arena = {arena} AND why IN ('its author had not begun the run', 'its author may not begin this attempt')
GROUP BY ALL
ORDER BY count(*) DESC, 1, 2;
