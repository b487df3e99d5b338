"""The proxy through which a score program asks a model: it has the key, meters, caps and caches the calls.

A thread of the worker serves it, outside of every sandbox. `proxy` opens it, `session` is one run's part of it.
"""
