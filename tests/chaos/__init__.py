"""Chaos: real processes of a swarm under random trouble, and what must hold afterwards, read straight from the log.

`python -m tests.chaos --minutes 30 --seed 7` runs rounds and prints a table; a round that fails keeps its folder. The
clocks of guests jump (`tests.chaos.jumping_clock`), as on machines of others; the machine's own and its server's stay.
"""
