-- What the projector writes; everything else is a view (`sql/`). Views that people are promised stand in the schema `main`,
-- tables and all other views in `internal`, so that SHOW TABLES lists what is promised. `posts` is the log itself. The others
-- repeat the columns of the facts that there are most of, so that no view must take bodies apart: of several facts with one
-- key the first counts and stands there, and of several requests of one run the first.
CREATE SCHEMA IF NOT EXISTS internal;
CREATE TABLE IF NOT EXISTS internal.posts (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, posted_at TIMESTAMP, id VARCHAR, author VARCHAR, kind VARCHAR,
    key VARCHAR, cause VARCHAR, body VARCHAR USING COMPRESSION zstd, decoded BOOLEAN, counts BOOLEAN);
CREATE TABLE IF NOT EXISTS internal.opened (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, version BIGINT, evaluator VARCHAR, base_tree VARCHAR, sign TINYINT,
    exact BOOLEAN, also VARCHAR[], baseline VARCHAR, ruled_out VARCHAR[], rulings VARCHAR[]);
CREATE TABLE IF NOT EXISTS internal.proposed (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, author VARCHAR, proposal VARCHAR, title VARCHAR, rationale VARCHAR,
    commit VARCHAR, origin VARCHAR, origin_name VARCHAR, parents VARCHAR[], predicted_gain DOUBLE, confidence DOUBLE,
    usd DOUBLE, tokens_in BIGINT, tokens_out BIGINT, seconds DOUBLE, share DOUBLE, as_of BIGINT);
CREATE TABLE IF NOT EXISTS internal.criticised (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, author VARCHAR, target VARCHAR, verdict VARCHAR, rule VARCHAR,
    predicted DOUBLE, confidence DOUBLE, costs BOOLEAN, usd DOUBLE, tokens_in BIGINT, tokens_out BIGINT,
    seconds DOUBLE, ruling VARCHAR);
CREATE TABLE IF NOT EXISTS internal.requested (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, run VARCHAR, proposal VARCHAR, lane VARCHAR, seed HUGEINT,
    worker_class VARCHAR, evaluator VARCHAR, instead_of VARCHAR, not_by VARCHAR[], audit VARCHAR);
CREATE TABLE IF NOT EXISTS internal.started (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, run VARCHAR, attempt BIGINT, worker VARCHAR);
CREATE TABLE IF NOT EXISTS internal.finished (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, run VARCHAR, how VARCHAR, reason VARCHAR, message VARCHAR,
    value DOUBLE, self_reported BOOLEAN, worker VARCHAR, worker_class VARCHAR, evaluator VARCHAR, trial_s DOUBLE,
    score_s DOUBLE, cpu_s DOUBLE, peak_memory_mb DOUBLE, usd DOUBLE, budget_used_s DOUBLE, budget_counts VARCHAR,
    predict_s DOUBLE, metrics VARCHAR[], numbers DOUBLE[],
    violation DOUBLE, infeasible_value DOUBLE, stage VARCHAR, stages_left BIGINT,
    stages VARCHAR[], stage_values DOUBLE[], stage_trial_s DOUBLE[], stage_score_s DOUBLE[],
    margin DOUBLE, judge_calls BIGINT, judge_cached BIGINT, judge_tokens_in BIGINT, judge_tokens_out BIGINT,
    judge_usd DOUBLE, peak_gpu_memory_mb DOUBLE, gpu_utilisation DOUBLE, slot_s DOUBLE);
CREATE TABLE IF NOT EXISTS internal.judged (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, proposal VARCHAR, verdict VARCHAR, why VARCHAR, met VARCHAR,
    p_better DOUBLE);
-- A row per fact of whose cost not all dollars count against the budget (`mesh/stated_costs.py`): those that do, and the rest.
CREATE TABLE IF NOT EXISTS internal.uncounted (arena VARCHAR, seq BIGINT, author VARCHAR, usd DOUBLE, uncounted_usd DOUBLE);
-- A row per score that ranks, in the order of the log, with the standing of its proposal in its worker class after it
-- (`mesh/standing.py`); `previous` is the sequence of the score before in that class, `asked_seq` that of the request.
CREATE TABLE IF NOT EXISTS internal.scored (
    arena VARCHAR, seq BIGINT, time TIMESTAMP, run VARCHAR, proposal VARCHAR, lane VARCHAR, seed HUGEINT, value DOUBLE,
    worker_class VARCHAR, trial_s DOUBLE, self_reported BOOLEAN, asked_seq BIGINT, sign TINYINT, fresh BOOLEAN,
    previous BIGINT, scores BIGINT, least DOUBLE, greatest DOUBLE, seconds DOUBLE, any_self_reported BOOLEAN,
    proven_count BIGINT, proven_mean DOUBLE, squares_added DOUBLE, claimed_count BIGINT, claimed_sum DOUBLE,
    used_s DOUBLE, margin_sum DOUBLE, best_before DOUBLE, best DOUBLE);
-- Who was champion and which proposals are ruled out, as `analytics/reigns.py` keeps it; `until_seq` is null where a reign
-- goes on, and the greatest number where the version in force rules out.
CREATE TABLE IF NOT EXISTS internal.ruled (
    arena VARCHAR, proposal VARCHAR, seq BIGINT, time TIMESTAMP, until_seq BIGINT, text VARCHAR);
CREATE TABLE IF NOT EXISTS internal.reigned (
    arena VARCHAR, reign BIGINT, proposal VARCHAR, met VARCHAR, seq BIGINT, since TIMESTAMP, until TIMESTAMP,
    reigns BOOLEAN, until_seq BIGINT);
-- `books` is what the arena has spent by then and what it may spend, as `analytics/books.py` keeps it.
CREATE TABLE IF NOT EXISTS internal.checkpoints (arena VARCHAR PRIMARY KEY, identity VARCHAR, seq BIGINT, books VARCHAR);
CREATE TABLE IF NOT EXISTS internal.layout (version INTEGER);
-- The quantile of Student's t that bounds a two-sided 95 % interval, for the degrees of freedom up to 1000.
CREATE TABLE IF NOT EXISTS internal.student_t (dof BIGINT, t975 DOUBLE);
