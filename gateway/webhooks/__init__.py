"""Webhooks: facts of the log are posted to addresses of others, signed, in order, at least once."""
