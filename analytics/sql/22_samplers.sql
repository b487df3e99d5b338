-- One row per kind of sampler and what it earned: by how much its results went below (above, where greater is better)
-- the best before them, in units of the metric, and per second that its runs took a worker. Explorers share their
-- proposals by a normalised form of it that forgets (`agents/search/samplers/portfolio.py`): `first_share` and `last_share` are
-- the probabilities with which the kind was drawn at first and last, `mean_share` is over all that it proposed.
CREATE OR REPLACE VIEW samplers AS
WITH sampled AS (
    SELECT arena, proposal, seq, author, origin_name AS kind, share FROM internal.proposed WHERE origin = 'sampler'
),
gained AS (
    SELECT arena, proposal, sum(gain ORDER BY seq) AS gain, count(*) AS improvements
    FROM internal.best_scores
    WHERE gain IS NOT NULL
    GROUP BY ALL
),
ran AS (
    SELECT
        arena, proposal, count(*) FILTER (state = 'failed') AS failed, count(*) FILTER (state = 'killed') AS stopped,
        count(*) AS runs,
        sum(trial_s ORDER BY finished_seq) AS worker_s
    FROM runs
    WHERE lane = 'explore' AND finished_seq IS NOT NULL
    GROUP BY ALL
)
SELECT
    s.arena, s.kind, count(*) AS proposals, sum(coalesce(r.runs, 0))::BIGINT AS runs,
    sum(coalesce(r.failed, 0))::BIGINT AS failed, sum(coalesce(g.improvements, 0))::BIGINT AS improvements,
    sum(coalesce(g.gain, 0) ORDER BY s.seq) AS improvement, sum(coalesce(r.worker_s, 0) ORDER BY s.seq) AS worker_s,
    sum(coalesce(g.gain, 0) ORDER BY s.seq) / nullif(sum(coalesce(r.worker_s, 0) ORDER BY s.seq), 0) AS earned_per_s,
    arg_min(s.share, s.seq) AS first_share, arg_max(s.share, s.seq) AS last_share,
    avg(s.share ORDER BY s.seq) AS mean_share, sum(coalesce(r.stopped, 0))::BIGINT AS stopped
FROM sampled s
LEFT JOIN ran r USING (arena, proposal)
LEFT JOIN gained g USING (arena, proposal)
GROUP BY ALL
ORDER BY s.arena, earned_per_s DESC NULLS LAST, s.kind;
