"""The swarm while it runs: up, status, top, and the feed that they show."""
