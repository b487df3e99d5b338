-- Facts by their sequences; without learning curves and the ends of logs, where these are not wanted. The ranges say the
-- same more coarsely: by them whole parts of the log are passed over, which takes a tenth of the time.
SELECT seq, epoch_us(time), id, epoch_us(posted_at), author, kind, key, cause,
    CASE WHEN kind = 'run.finished' AND NOT {whole} THEN json_merge_patch(body, '{{"curve": [], "log_tail": ""}}') ELSE body END
FROM internal.posts
WHERE arena = {arena} AND decoded AND seq IN ({seqs}) AND ({ranges})
ORDER BY seq
