-- The reigns, one row each: a promotion counts only if it met the champion at that point of the log ('' at first), and if
-- the version in force does not rule out the proposal. A version that rules out the champion ends its reign, and so does a
-- critic: then the next promotion meets ''.
CREATE OR REPLACE VIEW champions AS
SELECT arena, reign, proposal, met, seq, since, until, reigns, until_seq FROM internal.reigned;
