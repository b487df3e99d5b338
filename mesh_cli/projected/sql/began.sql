-- When the runs that are not finished began last.
SELECT run, epoch_us(arg_max(time, seq)) AS began_us
FROM internal.started
WHERE arena = {arena} AND run IN (
    SELECT run FROM internal.requested ANTI JOIN internal.finished USING (arena, run) WHERE arena = {arena})
GROUP BY run
