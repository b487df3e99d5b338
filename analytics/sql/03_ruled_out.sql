-- One row per proposal and version that rules it out, from entry `seq` until the next version (`until_seq`): because the
-- version fixes what it changed, or because a critic found later that it changed that (`mesh/ruling_out.py`).
CREATE OR REPLACE VIEW internal.ruled_out AS
SELECT arena, proposal, seq, time, until_seq, text FROM internal.ruled;
