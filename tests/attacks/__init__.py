"""Attacks from inside of a trial, by family, with the tiers in which each succeeds by design.

Attacks of one step are in the modules that `probes` lists: all of them run in one trial, each in a process of its own.
Attacks that need a whole run are in `whole_runs` and the modules that it lists. What runs inside of a trial uses the
standard library and ctypes alone. `python -m tests.attacks docs/sandbox.md` writes the table of the documentation.
"""
