-- The scores that rank: of runs under the evaluator in force, with the sign that makes greater better. Fresh are those that
-- prove something: of the lanes confirm and control, of the artifact as it was, and all of an exact metric.
CREATE OR REPLACE VIEW scores AS
SELECT arena, proposal, run, lane, seed, value, sign, worker_class, time AS finished_at, seq AS finished_seq, trial_s,
    self_reported, fresh
FROM internal.scored;
