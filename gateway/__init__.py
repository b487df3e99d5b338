"""The doors for agents of others: one function for each thing that one may do, which every skin uses.

The command line calls these functions; so will HTTP, MCP and the Python client. Each call is short and can be repeated.
"""
