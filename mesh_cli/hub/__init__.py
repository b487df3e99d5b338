"""A hub and its members: the operator's side (start, invite, revoke) and that of a machine that joins."""
