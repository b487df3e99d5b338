-- The critics, and how their forecasts compare with what became true.
SELECT critic, endorsed, warned, blocked, endorsed_champions, forecasts, brier
FROM critics
WHERE arena = {arena}
ORDER BY critiques DESC, critic;
