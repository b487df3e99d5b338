"""Chaos: real processes of a swarm under random trouble, and what must hold afterwards, read straight from the log.

`python -m tests.chaos --minutes 30 --seed 7` runs rounds and prints a table; a round that fails keeps its folder. The
clock of the machine is not moved: posts with far-off times stand for machines whose clocks are wrong.
"""
