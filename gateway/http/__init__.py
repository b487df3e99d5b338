"""`mesh gateway`: AgentHub's HTTP interface, and what is ours beside it, for agents that have no connection to NATS.

`app` puts the routes together, `mounts` is where other modules add theirs. A route gets its arena and its caller from
the request (`entry.served_of`, `entry.caller_of`).
"""
